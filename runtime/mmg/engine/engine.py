"""The engine: two plain calls, ``push`` and ``advance``, that return decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from mmg.backends import AUTO, CPU_ONLY
from mmg.bundle import Bundle
from mmg.engine.encoded import Encoded
from mmg.engine.encoder import load_encoder
from mmg.engine.fusion import Fusion
from mmg.engine.track import Track
from mmg.engine.unknown import DEFAULT_UNKNOWN, open_unknown
from mmg.engine.variant import choose_file, choose_variant
from mmg.errors import ConfigError
from mmg.streams import HopGrid
from mmg.types import UNKNOWN, Chunk, Decision, SensorState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmg.engine.health import Finding, ReadAs
    from mmg.teaching.scorer import Scorer
    from mmg.types import Samples

DEFAULT_GRACE_S = 0.2


class Engine:
    """Decides, once a hop, from whichever of its modalities are alive.

    The same chunks, split in any way and interleaved in any way between modalities, give the same decisions to the
    last bit, as long as ``advance`` gives up on nobody. A decision is made when every modality has data to the hop's
    end, or when ``advance`` says that the grace has passed: then the late ones are left out of it, and are not waited
    for again until they deliver. Without calls to ``advance`` the engine waits for every modality for ever.

    bundle: only the fusion's file and those of ``modalities`` are read, verified and, where nobody vouches for the
        bundle, tried now (``Bundle.require_tried``). An encoder is loaded when its sensor's first chunk comes: one that
        never appears costs nothing, and one whose file was changed meanwhile that sensor alone, which is faulty from
        then on. Keep the bundle open as long as the engine.
    origin_ns: where hop 0 begins, on the clock of the chunks.
    grace_s: how long after a hop's end a late modality is waited for.
    backend: ``onnx``, ``litert``, or ``auto``, one that is installed and that the bundle has files for: where there are
        several, ``preferred_backend``, or else the first of ``mmg.backends.BACKENDS``.
    providers: onnxruntime's execution providers, the preferred one first; those that it does not have are left out.
    taught: what knows the activities that were taught; the label is decided among the bundle's and these.
    unknown: the share of what is known that may be refused as none of the labels, 0 to 0.4, where the bundle can tell;
        0 tells it never.
    clock: nanoseconds of any clock, to measure the stages with; without it ``Decision.latency_ms`` is empty.

    Raises ConfigError, BundleError, ModelError.
    """

    def __init__(
        self,
        bundle: Bundle,
        modalities: Sequence[str],
        *,
        origin_ns: int = 0,
        grace_s: float = DEFAULT_GRACE_S,
        backend: str = AUTO,
        preferred_backend: str = AUTO,
        precision: str = "fp32",
        threads: int = 1,
        providers: tuple[str, ...] = CPU_ONLY,
        clock: Callable[[], int] | None = None,
        taught: Scorer | None = None,
        unknown: float = DEFAULT_UNKNOWN,
    ) -> None:
        manifest = bundle.manifest
        known = [modality.name for modality in manifest.modalities]
        for name in modalities:
            if name not in known:
                raise ConfigError(f"{bundle.path} has no modality {name!r}; it has {', '.join(known)}")
        if not modalities:
            raise ConfigError("an engine needs at least one modality")
        self._manifest, self._measured = manifest, clock is not None
        self._clock = clock or (lambda: 0)
        self._grace_ns = round(grace_s * 1e9)
        self._grid = HopGrid(origin_ns, manifest.hop_ns)
        self._taught: Scorer | None = None
        self._kept_hops = manifest.context_hops
        if taught:
            self.teach(taught)
        self._tracks: dict[str, Track] = {}
        places: dict[str, str] = {}
        self.variant = choose_variant(bundle, modalities, backend, precision, preferred_backend)
        """The backend and precision that run."""
        files = []
        for modality in manifest.modalities:
            if modality.name in modalities:
                file = choose_file(bundle, modality.encoder.files, f"{modality.name} encoder", self.variant)
                bundle.read(file)  # a damaged one ends the run now, and not when its sensor appears
                files.append(file)
                load = partial(load_encoder, bundle, modality, file, threads, providers)
                index = manifest.index(modality.name)
                places[modality.name] = file.path
                self._tracks[modality.name] = Track(modality, index, load, self._grid, self._clock)
        file = choose_file(bundle, manifest.fusion.files, "fusion", self.variant)
        bundle.read(file)
        bundle.require_tried((*files, file))
        self._fusion = Fusion(manifest, bundle.open_session(file, threads=threads, providers=providers))
        self._unknown = open_unknown(bundle, modalities, unknown)
        self._hop = 0
        self.at_work: Callable[[str], None] = lambda _: None
        """Called with the model that works from now on, and with nothing when it is done: for who watches how long."""
        self._places = {name: f"{name} encoder {place}" for name, place in places.items()}
        self._fusion_place = f"fusion {file.path}"
        self.kept: dict[str, list[Encoded]] = {}
        """By modality: what its chunks became, for whoever put a list here and takes from it."""
        self.decided = 0
        """How many decisions were made."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this engine listens to, in the bundle's order."""
        return tuple(self._tracks)

    @property
    def hop_s(self) -> float:
        """Seconds from one decision to the next."""
        return self._manifest.hop_s

    @property
    def hop_end_ns(self) -> int:
        """When the next hop to be decided ends: nothing can be decided by samples from before."""
        return self._grid.end_ns(self._hop)

    @property
    def deadline_ns(self) -> int:
        """When ``advance`` would decide the next hop without those who are late."""
        return self._grid.end_ns(self._hop) + self._grace_ns

    def newest_ns(self, name: str) -> int | None:
        """Capture time of the newest sample of this modality, if any came."""
        return self._tracks[name].newest_ns

    @property
    def wanted(self) -> dict[str, int]:
        """By modality: how late a sample must be stamped, in ns, to end the first hop that is not known yet."""
        return {name: track.wanted_ns(self._hop) for name, track in self._tracks.items()}

    @property
    def awaited(self) -> frozenset[str]:
        """The modalities that the next decision waits for."""
        return frozenset(n for n, track in self._tracks.items() if track.waited_for and not track.covers(self._hop))

    def waits_for(self, name: str) -> bool:
        """False once a decision was made without this modality, until it delivers again."""
        return self._tracks[name].waited_for

    def let_sleep(self, names: Collection[str]) -> None:
        """Say which modalities are closed from now on, because nobody asks for them; all others are awake.

        Those are ``asleep`` and not waited for. One that wakes is waited for again once it delivers.
        """
        for name, track in self._tracks.items():
            if track.is_asleep != (name in names):
                track.sleep(name in names, self._hop)

    def keep_motion(self) -> None:
        """From now on, find out how much the acceleration of each hop varies."""
        for track in self._tracks.values():
            track.keeps_motion = True

    def motion_at(self, hop: int) -> float | None:
        """How much the acceleration varied in a hop that was just decided, in m/s^2: the most of any sensor's."""
        found = (track.motion_at(hop) for track in self._tracks.values())
        return max((motion for motion in found if motion is not None), default=None)

    def read_as(self, name: str, read_as: ReadAs) -> None:
        """Say how this modality's source took the units of its values: a ``reason`` advises no other."""
        self._tracks[name].read_as(read_as)

    def doubt(self, name: str, findings: Iterable[Finding]) -> None:
        """Say before the first chunk what ``Health.lasting`` told of this sensor: it is faulty until its values show
        that it is another. Without this the engine finds out by itself, from the first seconds."""
        self._tracks[name].doubt(findings)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The modalities whose encoder is loaded, because something came from their sensor."""
        return tuple(name for name, track in self._tracks.items() if track.is_loaded)

    def teach(self, taught: Scorer) -> None:
        """From the next decision on, decide among these activities too, in place of those before."""
        self._taught = taught
        self._kept_hops = max(self._manifest.context_hops, taught.context_hops)

    def push(self, chunk: Chunk | Encoded) -> list[Decision]:
        """Take one chunk, or what it became elsewhere, and return the decisions that it completes.

        Raises ConfigError, ModelError, BundleError where its files were changed and no sensor has a model any more.
        """
        track = self._tracks.get(chunk.modality)
        if track is None:
            raise ConfigError(f"got a chunk of {chunk.modality!r}; this engine has {', '.join(self._tracks)}")
        if isinstance(chunk, Encoded):
            track.take(chunk)
        else:
            track.keeps_shape = self._taught is not None or chunk.modality in self.kept
            self.at_work(self._places[chunk.modality])
            try:
                track.push(chunk)
            finally:
                self.at_work("")
            if track.lost and all(one.lost for one in self._tracks.values()):
                raise track.lost
            if chunk.modality in self.kept:
                self.kept[chunk.modality].append(track.encoded())
        decisions: list[Decision] = []
        while self._is_ready():
            self._step(decisions, None)
        return decisions

    def _is_ready(self) -> bool:
        """Whether all that is waited for about the present hop is known."""
        known = False
        for track in self._tracks.values():
            if track.covers(self._hop):
                known = True
            elif track.waited_for:
                return False
        return known

    def advance(self, now_ns: int) -> list[Decision]:
        """Say what time it is, on the chunks' clock, and return the decisions that wait for nobody any more."""
        decisions: list[Decision] = []
        while now_ns >= self._grid.end_ns(self._hop) + self._grace_ns:
            for track in self._tracks.values():
                if not track.covers(self._hop):
                    track.waited_for = False
            self._step(decisions, self._grid.hop_at(now_ns - self._grace_ns))
        return decisions

    def states(self) -> dict[str, SensorState]:
        """The state of each modality at the end of the newest hop that is past, decided or not."""
        return {name: track.state_at(self._hop - 1) for name, track in self._tracks.items()}

    def _step(self, decisions: list[Decision], limit: int | None) -> None:
        """Decide the present hop and go on to the next one that anything is known of."""
        decision = self._decide(self._hop)
        if decision is not None:
            decisions.append(decision)
            self.decided += 1
            self._hop += 1
        else:
            # A clock that jumps by years costs one step, not one for each of its hops.
            known = [hop for track in self._tracks.values() if (hop := track.next_known(self._hop)) is not None]
            reached = [track.next_hop() for track in self._tracks.values() if track.covers(self._hop)]
            bounds = known + (reached if limit is None else [limit])
            self._hop = max(self._hop + 1, min(bounds, default=self._hop + 1))
        for track in self._tracks.values():
            track.forget(self._hop - self._kept_hops)

    def _decide(self, hop: int) -> Decision | None:
        """The decision for this hop; None where no modality is live in it."""
        if not any(track.is_live(hop) for track in self._tracks.values()):
            return None
        states = {name: track.state_at(hop) for name, track in self._tracks.items()}
        begin_ns = self._clock()
        tokens: dict[str, list[Samples]] = {}
        indices: list[int] = []
        ages: list[int] = []
        for name, track in self._tracks.items():
            its_ages, its_tokens = track.tokens_at(hop, self._manifest.context_hops)
            if its_tokens:
                tokens[name] = its_tokens
                ages += its_ages
                indices += [track.index] * len(its_ages)
        self.at_work(self._fusion_place)
        try:
            logits, embedding = self._fusion.fuse(list(chain.from_iterable(tokens.values())), indices, ages)
        finally:
            self.at_work("")
        fused_ns = self._clock()
        modalities = tuple(tokens)
        scores = self._fusion.calibrate(logits, modalities)
        named = dict(zip(self._manifest.labels, scores, strict=True))
        unknown = self._unknown.probability(tokens) if self._unknown else None
        if unknown is not None:
            named = _shared(named, {UNKNOWN: unknown})
        taught = self._score_taught(hop)
        if taught:
            named = _shared(named, taught)
        label = max(named, key=named.__getitem__)
        return Decision(
            hop=hop,
            t_s=(self._grid.end_ns(hop) - self._grid.origin_ns) / 1e9,
            label=label,
            confidence=named[label],
            scores=named,
            modalities=modalities,
            sensors=states,
            embedding=tuple(embedding),
            latency_ms=self._latency(hop, begin_ns, fused_ns) if self._measured else {},
            taught=taught,
        )

    def _score_taught(self, hop: int) -> dict[str, float]:
        """The probability of each taught activity; of none where nothing is taught."""
        if self._taught is None:
            return {}
        traces = {name: track.trace_at(hop, self._taught.context_hops) for name, track in self._tracks.items()}
        return self._taught.score({name: trace for name, trace in traces.items() if trace is not None})

    def _latency(self, hop: int, begin_ns: int, fused_ns: int) -> dict[str, float]:
        """Of each stage, in the order in which they run."""
        spent = {name: track.spent_ns(hop) for name, track in self._tracks.items()}
        return {
            "resample": sum(stream_ns for stream_ns, _ in spent.values()) / 1e6,
            **{name: encode_ns / 1e6 for name, (_, encode_ns) in spent.items()},
            "fusion": (fused_ns - begin_ns) / 1e6,
            "post": (self._clock() - fused_ns) / 1e6,
        }


def _shared(scores: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """The scores, which share what the others leave, and the others; they sum to 1 as before."""
    rest = max(1 - sum(others.values()), 0.0)
    shared = {label: score * rest for label, score in scores.items()}
    for name, score in others.items():
        shared[name] = shared.get(name, 0.0) + score
    return shared
