"""One session read to its end: its sensors hop by hop, as a device would see them, and its labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmg.bundle import Bundle, Modality
from mmg.engine.health import Health, advise
from mmg.errors import BackendUnavailable, ConfigError, NoSensorError, SourceError
from mmg.labels import Label, against_recording, labels_file, labels_of
from mmg.runs.look_ahead import LOOK_AHEAD_S, look_ahead, read_as
from mmg.runs.whole import Whole, open_whole, sensors_in
from mmg.sources import Recording
from mmg.streams import HopGrid, open_stream
from numpy.typing import NDArray

from mmg_training.data.folder.found import Recorded
from mmg_training.data.folder.split import Described
from mmg_training.data.sessions import TICK_S, TICKS_PER_HOP, UNLABELLED
from mmg_training.task import HOP_S, MODALITIES

HOP_NS = round(HOP_S * 1e9)
UNEVEN_S, UNEVEN_PART = 2.0, 0.01


@dataclass
class Read:
    """What a session holds. duration_s: as its files tell. labels: those that can be used.

    samples: modality -> (T, ...) in whole hops, as ``Session`` has them, zeros where a hop is not whole or the sensor
    was faulty; present: modality -> (hops,), whether it was there. problems: a line for each thing that is wrong.
    """

    session: Recorded
    duration_s: float = 0.0
    labels: tuple[Label, ...] = ()
    samples: dict[str, NDArray[Any]] = field(default_factory=dict)
    present: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def hops(self) -> int:
        """Whole hops of the longest sensor."""
        return max((len(one) for one in self.present.values()), default=0)

    def ticks(self, numbers: Mapping[str, int]) -> NDArray[np.int16]:
        """(ticks + 1,): each tick's label as its number; ``UNLABELLED`` where there is none, two, or one without."""
        at_s = np.arange(self.hops * TICKS_PER_HOP + 1) * TICK_S
        made, claimed = np.full(len(at_s), UNLABELLED, np.int16), np.zeros(len(at_s), np.int64)
        inside: dict[str, NDArray[np.bool_]] = {}
        for one in self.labels:
            own = inside.setdefault(one.label, np.zeros(len(at_s), np.bool_))
            own[slice(*np.searchsorted(at_s, (one.start_s, one.end_s)))] = True
        for name, own in inside.items():
            claimed += own
            made[own] = numbers.get(name, UNLABELLED)
        made[claimed > 1] = UNLABELLED
        return made

    @property
    def sensed(self) -> NDArray[np.bool_]:
        """(hops,): whether any sensor was there."""
        there: NDArray[np.bool_] = np.any([np.zeros(self.hops, np.bool_), *self.present.values()], axis=0)
        return there

    def varies(self, name: str) -> bool:
        """Whether not all hops that this sensor has are the same."""
        there = np.flatnonzero(self.present[name])
        hops = self.samples[name].reshape(len(self.present[name]), -1)
        return any(not np.array_equal(hops[there[0]], hops[one]) for one in there)

    def seconds(self) -> dict[str, float]:
        """Label -> its seconds with a sensor, without what two labels share."""
        names = sorted({one.label for one in self.labels})
        ticks = self.ticks({name: number for number, name in enumerate(names)})[1::TICKS_PER_HOP]
        counts = np.bincount(ticks[(ticks >= 0) & self.sensed], minlength=len(names))
        return {name: float(count) * HOP_S for name, count in zip(names, counts, strict=True)}

    def described(self) -> Described:
        """What the split asks of it."""
        return Described(self.session.name, self.session.person, self.seconds())


def sensors_of(modalities: Sequence[str], allow_video: bool) -> tuple[Modality, ...]:
    """The sensors that are looked for, as the starter takes them; video where it is named and allowed.

    Raises ConfigError for one that cannot be.
    """
    for name in modalities:
        if name not in MODALITIES:
            raise ConfigError(f"data.modalities: {name!r} is not one of {', '.join(MODALITIES)}")
    if "video" in modalities and not allow_video:
        raise ConfigError("video stays closed: allow it with --allow-video (data.allow_video), or leave it out")
    wanted = modalities or tuple(name for name in MODALITIES if name != "video")
    with Bundle.open("starter") as bundle:
        return tuple(one for one in bundle.manifest.modalities if one.name in wanted)


def read_sessions(sessions: Iterable[Recorded], sensors: Sequence[Modality]) -> Iterator[Read]:
    """Read each session. A copy of what an earlier one has with labels is left out: it could be trained on and
    measured. What is the same all along, as of a sensor that is dead, is no copy."""
    first: dict[tuple[str, bytes], str] = {}
    for session in sessions:
        read = read_session(session, sensors)
        for name in [name for name in read.samples if read.labels and read.varies(name)]:
            other = first.setdefault((name, hashlib.blake2b(read.samples[name].data).digest()), session.name)
            if other != session.name:
                read.problems.append(f"{name} is left out: it is the same recording as that of {other}")
                del read.samples[name], read.present[name]
        yield read


def read_session(session: Recorded, sensors: Sequence[Modality]) -> Read:
    """Read a session. What is wrong with it is told in ``problems``, never raised."""
    read = Read(session)
    try:
        with open_whole(_urls(session, sensors), sensors, read.problems.append, allow_video=True) as whole:
            read.duration_s = whole.duration_s
            _read_sensors(read, whole, sensors)
        _read_labels(read)
    except NoSensorError as error:
        read.problems.append(f"cannot be read: {error}")
    except (SourceError, ConfigError, BackendUnavailable) as error:
        read.problems.append(str(error))
    except OSError as error:
        read.problems.append(f"cannot be read: {error.filename or session.name}: {error.strerror}")
    return read


def _urls(session: Recorded, sensors: Sequence[Modality]) -> dict[str, str]:
    """Modality -> its file. Raises ConfigError where two files hold one kind, NoSensorError where none holds any."""
    urls: dict[str, str] = {}
    for path in session.files:
        for name, url in sensors_in(str(path), sensors).items():
            if name in urls:
                raise ConfigError(f"has {name} in both {urls[name]} and {path}: keep one, or put them in folders")
            urls[name] = url
    if not urls:
        raise NoSensorError({session.name: f"it holds none of {', '.join(one.name for one in sensors)}"})
    return urls


def _read_sensors(read: Read, whole: Whole, sensors: Sequence[Modality]) -> None:
    grid, known = HopGrid(whole.origin_ns, HOP_NS), {one.name: one for one in sensors}
    for recording in whole.recordings:
        name, start_ns = recording.modality, whole.starts_ns[recording.modality]
        try:
            hops, told = _read_one(recording, known[name], start_ns, grid)
        except SourceError as error:
            read.problems.append(f"{name} is left out: {error}")
            continue
        read.problems += [f"{name}: {line}" for line in told]
        if hops:
            read.samples[name], read.present[name] = _dense(hops, known[name])
    read.problems += _uneven(read)
    longest = read.hops
    for name, present in read.present.items():
        missing = longest - len(present)
        read.present[name] = np.pad(present, (0, missing))
        samples = read.samples[name]
        more = missing * (len(samples) // max(len(present), 1))
        read.samples[name] = np.concatenate((samples, np.zeros((more, *samples.shape[1:]), samples.dtype)))


def _uneven(read: Read) -> list[str]:
    """A line where one sensor ends long before another: it stopped, or its clock is another."""
    ends_s = sorted((len(there) * HOP_S, name) for name, there in read.present.items())
    if len(ends_s) < 2 or ends_s[-1][0] - ends_s[0][0] <= max(UNEVEN_S, UNEVEN_PART * ends_s[-1][0]):
        return []
    (first_s, first), (last_s, last) = ends_s[0], ends_s[-1]
    return [f"{first} ends at {first_s:g} s and {last} at {last_s:g} s: one of them stopped, or their clocks disagree"]


def _read_one(
    recording: Recording, modality: Modality, start_ns: int, grid: HopGrid
) -> tuple[dict[int, NDArray[Any]], list[str]]:
    """Hop -> its samples where it is whole and the sensor is not faulty; and what is doubted. Raises SourceError."""
    findings, how = look_ahead(recording, modality, start_ns, grid, LOOK_AHEAD_S), read_as(recording)
    told = [advise(finding, how) for finding in findings]
    health, stream = Health(modality), open_stream(modality, grid)
    health.read_as = how
    health.presume(findings)
    hops: dict[int, NDArray[Any]] = {}
    seen, faults = 0, Counter[str]()
    for chunk in recording.chunks(start_ns, grid.hop_ns):
        for hop in stream.push(chunk):
            seen += 1
            verdict = health.judge(hop)
            if verdict.state == "faulty":
                faults[verdict.reason] += 1
            elif hop.samples is not None:
                hops[hop.index] = hop.samples
    if faults:
        reason, _ = faults.most_common(1)[0]
        why = "" if told else f": {reason}"
        told.append(f"faulty in {sum(faults.values()) / seen:.0%} of its hops, which are left out{why}")
    return hops, list(dict.fromkeys(told))


def _dense(hops: Mapping[int, NDArray[Any]], modality: Modality) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """All hops in a row, zeros for those that are not there, and which are."""
    count, example = max(hops) + 1, next(iter(hops.values()))
    is_sound = modality.kind == "audio"
    shape = example.shape[:1] if is_sound else example.shape
    samples = np.zeros((count, *shape), np.int16 if is_sound else example.dtype)
    present = np.zeros(count, np.bool_)
    for index, values in hops.items():
        samples[index] = (values[:, 0] * 32767).round().clip(-32768, 32767) if is_sound else values
        present[index] = True
    return samples.reshape(count * shape[0], *shape[1:]), present


def _read_labels(read: Read) -> None:
    """Raises ConfigError where they cannot be."""
    labels = labels_of(read.session.files[0])
    if not labels:
        path = read.session.files[0]
        read.problems.append(f"has no labels ({labels_file(path)}): mmg-label {path} labels.txt")
        return
    try:
        read.labels, lines = against_recording(labels, read.duration_s)
    except ValueError as error:
        raise ConfigError(f"{labels_file(read.session.files[0])}: {error}") from error
    read.problems += lines
