"""IMU chips through the kernel, on I2C or SPI (Linux IIO)."""
