"""A sound or film that names another file or an address: it is refused, and what it names is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes import audio_modality, video_modality
from films import noise, write_film
from mmg.errors import ConfigError, SourceError
from mmg.sources import Recording, open_source
from mmg.sources.ports.filter_graph import check_graph
from recordings import traced

pytest.importorskip("av")
pytest.importorskip("soundfile")

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{0}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
NAMING = {
    "list.mp4": "ffconcat version 1.0\nfile {0}\n",
    "list.ffconcat": "ffconcat version 1.0\nfile {0}\n",
    "list.wav": "ffconcat version 1.0\nfile {0}\n",
    "play.m3u8": HLS,
    "play.mp4": HLS,
    "far.m3u8": HLS.replace("{0}", "http://127.0.0.1:9/{0}"),
    "play.mpd": DASH,
    "play.sdp": SDP,
    "secret%d.png": "x",
    "secret.idx": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
}
SECRET = "secret1.mp4"


def named(folder: Path) -> list[Path]:
    write_film(folder / SECRET, seconds=2, sound=noise(2))
    for name in ("secret.sub", "secret1.png"):
        (folder / name).write_bytes(b"x")
    for name, text in NAMING.items():
        (folder / name).write_text(text.replace("{0}", SECRET))
    return [folder / name for name in NAMING]


def opened(path: Path, kind: str) -> Recording:
    modality = video_modality() if kind == "video" else audio_modality()
    return open_source(str(path), modality, allow_video=True)


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("name", NAMING)
def test_it_is_refused_in_a_line(name: str, kind: str, tmp_path: Path) -> None:
    named(tmp_path)
    with pytest.raises(SourceError) as refused:
        opened(tmp_path / name, kind)
    assert "\n" not in str(refused.value)


OPEN_ALL = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
sys.path.insert(0, "tests/unit")
from mmg.errors import MmgError
from test_named_by_a_file import NAMING, opened
for name in NAMING:
    for kind in ("video", "audio"):
        try:
            opened(Path(sys.argv[1]) / name, kind)
        except MmgError:
            pass
"""


def test_what_it_names_is_never_opened_nor_asked_for(tmp_path: Path) -> None:
    named(tmp_path)
    lines = traced("open,openat,%network", sys.executable, "-c", OPEN_ALL, str(tmp_path))
    assert [line for line in lines if "list.ffconcat" in line]
    assert not [line for line in lines if "secret1." in line or "secret.sub" in line or "AF_INET" in line]


def test_a_sound_of_an_unknown_kind_opens_no_file_beside_it_and_is_no_bare_samples(tmp_path: Path) -> None:
    for name in ("noise.wav", "noise.vox", "noise.gsm"):
        (tmp_path / name).write_bytes(b"nothing that is known" * 100)
        (tmp_path / f"._{name}").write_bytes(b"what macOS hides")
        with pytest.raises(SourceError, match="is not a readable sound file"):
            opened(tmp_path / name, "audio")
    code = "import sys; from test_named_by_a_file import *; opened(Path(sys.argv[1]), 'audio')"
    command = (sys.executable, "-c", f"import sys; sys.path[:0] = ['tests', 'tests/unit']; {code}")
    lines = traced("open,openat", *command, str(tmp_path / "noise.wav"), codes=(1,))
    assert [line for line in lines if "/noise.wav" in line]
    assert not [line for line in lines if "._noise" in line or "AppleDouble" in line]


@pytest.mark.parametrize(
    "graph",
    [
        "testsrc=size=320x240:rate=10",
        "color=c=0xff8000:size=320x240:rate=30/1",
        "color=size=64x48:rate=1000,settb=1/1000000,setpts=N*1000",
        "testsrc@a=size=64x48 [x]; [x] hflip, noise=alls=10",
    ],
)
def test_test_pictures_stand_in_a_cameras_place(graph: str) -> None:
    check_graph(graph, "camera://")


@pytest.mark.parametrize(
    "graph",
    [
        "movie=/etc/passwd",
        "testsrc[a];movie=x.mp4[b];[a][b]overlay",
        "testsrc,metadata=mode=print:file=/tmp/x",
        "testsrc,drawtext=textfile=/etc/passwd",
        "testsrc,zmq",
        "testsrc=/size=/etc/passwd",
        "testsrc=rate=1:/size=/etc/passwd",
        "testsrc=size='64x48,movie=x'",
        "testsrc=size=64x48\\,movie=x",
        "sws_flags=bilinear;testsrc",
        "life=filename=/etc/passwd",
        "amovie=x",
        "",
    ],
)
def test_a_graph_that_does_more_is_refused_before_anything_is_loaded(graph: str) -> None:
    with pytest.raises(ConfigError, match="is none of the filters that only make pictures"):
        check_graph(graph, "camera://x")


def test_a_camera_urls_film_names_no_other(tmp_path: Path) -> None:
    """As recordings do: ``camera://`` plays files too."""
    named(tmp_path)
    code = (
        "import sys\nfrom mmg.sources.ports.camera import CameraPort\nfrom mmg.sources.url import parse_url\n"
        "sys.path.insert(0, 'tests')\nfrom fakes import video_modality\nfrom mmg.errors import MmgError\n"
        "port = CameraPort(parse_url(f'camera://{sys.argv[1]}'), video_modality(), allow_video=True)\n"
        "try: port._opened()\nexcept MmgError as error: sys.exit(3)"
    )
    for name in ("list.mp4", "list.ffconcat", "play.m3u8", "secret%d.png"):
        url = str(tmp_path / name).replace("%", "%25")
        done = subprocess.run([sys.executable, "-c", code, url], check=False, cwd=Path(__file__).parents[2])
        assert done.returncode == 3, name
