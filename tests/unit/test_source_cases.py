"""Recordings that others brought and that were read wrongly once: each gives its right value, or says the way out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from mmg import Bundle
from mmg.errors import NoSensorError, SourceError
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.sources import Recording, open_source

CASES = Path(os.environ.get("MMG_CASES", Path(__file__).parents[3] / "shared" / "cases")) / "files"
ABSENT = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not there: set MMG_CASES")


def opened(place: str) -> Recording:
    with Bundle.open("starter") as bundle:
        return open_source(str(CASES / place), bundle.manifest.modality("imu"))


# Seconds, Hz, the median lengths of acceleration and turning, the start in s.
VALUES = {
    "01-acc-and-gyro-in-two-files": (11.96, 50, 9.89, 1.22, 0.02),
    "01-acc-and-gyro-in-two-files/Accelerometer.csv?with=Gyroscope.csv": (11.96, 50, 9.89, 1.22, 0.02),
    "03-no-gravity-wrong-advice/watch.csv": (11.98, 50, 9.86, 1.20, 1714730400),
    "05-gyro-in-degrees-taken-as-radians/right.csv": (11.98, 50, 9.81, 0.08, 0),
    "05-gyro-in-degrees-taken-as-radians/latin1.csv": (11.98, 50, 9.81, 0.08, 0),
    "05-gyro-in-degrees-taken-as-radians/gyrounit_degreess.csv": (11.98, 50, 9.81, 0.08, 0),
    "05-gyro-in-degrees-taken-as-radians/gyrounit_degsec.csv": (11.98, 50, 9.81, 0.08, 0),
    "06-dates-and-clock-times/axivity.csv": (11.98, 50, 9.86, 0, 1714730400),
    "06-dates-and-clock-times/date_and_time.csv": (11.98, 50, 9.86, 1.20, 1714730400),
    "06-dates-and-clock-times/iso.csv": (11.98, 50, 9.86, 1.20, 1714730400),
    "06-dates-and-clock-times/isoz.csv": (11.98, 50, 9.86, 1.20, 1714730400),
    "06-dates-and-clock-times/witmotion.txt": (11.98, 50, 9.86, 1.20, 1714730400),
    "07-decimal-comma/semicolon.csv": (11.98, 50, 9.86, 1.20, 0),
    "08-lines-before-the-header/actigraph_raw.csv": (19.97, 30, 9.86, 0, 1714730400),
    "08-lines-before-the-header/arduino_boot.txt": (11.98, 50, 9.86, 1.20, 0),
    "08-lines-before-the-header/sep_semicolon.csv": (11.98, 50, 9.86, 1.20, 0),
    "08-lines-before-the-header/shimmer.csv": (11.98, 50, 9.81, 0.08, 1714730400),
    "09-counts-and-64ths/e4_acc.csv": (18.72, 32, 9.81, 0, 1714730400),
    "09-counts-and-64ths/raw_lsb.csv?acc_scale=0.00059855&gyro_scale=0.00013323": (11.98, 50, 9.81, 0.02, 0),
    "11-clock-starts-anew/micros_wrap.csv": (11.98, 50, 9.86, 1.20, 4290.967),
    "13-json/edgeimpulse.json": (11.98, 50, 9.86, 0, None),
    "13-json/lines.jsonl": (11.98, 50, 9.86, 0, 0),
    "13-json/movesense.json": (11.98, 50, 9.80, 0.55, 0),
}


@ABSENT
@pytest.mark.parametrize("place", VALUES)
def test_a_recording_gives_its_right_values(place: str) -> None:
    recording = opened(place)
    chunks = list(recording.chunks(recording.start_ns or 0))
    times_ns = np.concatenate([chunk.times_ns for chunk in chunks])
    samples = np.concatenate([chunk.samples for chunk in chunks])
    seconds, rate_hz, acceleration, turning, start_s = VALUES[place]
    assert (times_ns[-1] - times_ns[0]) / 1e9 == pytest.approx(seconds, abs=0.02)
    assert (len(times_ns) - 1) / ((times_ns[-1] - times_ns[0]) / 1e9) == pytest.approx(rate_hz, rel=0.01)
    assert float(np.median(np.linalg.norm(samples[:, :3], axis=1))) == pytest.approx(acceleration, abs=0.03)
    assert float(np.median(np.linalg.norm(samples[:, 3:], axis=1))) == pytest.approx(turning, abs=0.03)
    assert recording.start_ns == (None if start_s is None else pytest.approx(start_s * 1e9, abs=1e6))


REFUSALS = {
    "01-acc-and-gyro-in-two-files/Gyroscope.csv": r"no column for ax.*\(Accelerometer.csv may have them: add \?with=",
    "09-counts-and-64ths/raw_lsb.csv": r"raw counts\? Add \?acc_scale=0.0005986 if 16384 are 1 g",
}


@ABSENT
@pytest.mark.parametrize("place", REFUSALS)
def test_a_recording_that_cannot_be_used_says_the_way_out(place: str) -> None:
    with pytest.raises(SourceError, match=REFUSALS[place]):
        opened(place)


DOUBTED = {
    "03-no-gravity-wrong-advice/linear.csv": "this is acceleration without gravity .*mmg needs it with gravity",
    "05-gyro-in-degrees-taken-as-radians/no_unit.csv": "Add gyro_unit=deg/s to its URL",
}


@ABSENT
@pytest.mark.parametrize("place", DOUBTED)
def test_what_cannot_be_right_is_told_and_not_decided_on(place: str) -> None:
    told: list[str] = []
    with Bundle.open("starter") as bundle:
        pipeline = Pipeline(bundle, {"imu": str(CASES / place)}, Settings(), report=told.append)
        with pytest.raises(NoSensorError, match="faulty"):
            list(pipeline)
        pipeline.close()
    assert re.search(DOUBTED[place], "\n".join(told))
    assert "acc_unit=g" not in "\n".join(told)


@ABSENT
def test_an_accelerometer_alone_names_the_file_of_the_gyroscope() -> None:
    notes = opened("01-acc-and-gyro-in-two-files/Accelerometer.csv").notes
    assert any(re.search(r"Gyroscope.csv may have them: add \?with=Gyroscope.csv", note) for note in notes)
