/* The floor of a live run: reads a serial IMU and a microphone, does nothing with either, prints a line each half second
   of sound. PortAudio's header is declared here as far as it is used, so that only its library need be installed.

   live_floor MICROPHONE [TERMINAL] */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { RATE = 16000, BLOCK = 320, HOP = 8000, FLOAT32 = 1 };

typedef struct {
    int version;
    const char *name;
    int host;
    int inputs;
} Device; /* PaDeviceInfo goes on behind these */
typedef struct {
    int device, channels;
    unsigned long format;
    double latency_s;
    void *of_host;
} Parameters;
typedef int Callback(const void *, void *, unsigned long, const void *, unsigned long, void *);

int Pa_Initialize(void);
int Pa_GetDeviceCount(void);
const Device *Pa_GetDeviceInfo(int);
int Pa_OpenStream(void **, const Parameters *, const Parameters *, double, unsigned long, unsigned long, Callback *, void *);
int Pa_StartStream(void *);

static float hop[HOP];

static int take(const void *sound, void *_1, unsigned long samples, const void *_2, unsigned long _3, void *_4) {
    static unsigned long have;
    memcpy(hop + have, sound, samples * sizeof *hop);
    have = (have + samples) % HOP;
    return have == 0 && write(1, ".\n", 2) < 0;
}

int main(int count, char **words) {
    void *stream;
    Parameters input = {-1, 1, FLOAT32, 3.0 * BLOCK / RATE, NULL};
    if (count < 2 || Pa_Initialize()) return 2;
    for (int i = 0; i < Pa_GetDeviceCount(); i++)
        if (!strcmp(Pa_GetDeviceInfo(i)->name, words[1])) input.device = i;
    if (Pa_OpenStream(&stream, &input, NULL, RATE, BLOCK, 0, take, NULL) || Pa_StartStream(stream)) return 3;
    if (count < 3) return pause();
    struct pollfd port = {open(words[2], O_RDWR | O_NOCTTY), POLLIN, 0};
    struct termios line;
    if (tcgetattr(port.fd, &line)) return 4;
    cfmakeraw(&line);
    tcsetattr(port.fd, TCSANOW, &line);
    for (char bytes[4096]; poll(&port, 1, -1) > 0 && read(port.fd, bytes, sizeof bytes) > 0;) continue;
    return 5;
}
