"""spectag listen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spectag.choices import DEVICE, EVENT_METHOD, MODEL, TOP_K, Encoding
from spectag.cli.options import (
    MODEL as MODEL_HELP,
    Device,
    EngineOption,
    PrecisionOption,
    TagThreshold,
    TopK,
    find_model,
)
from spectag.cli.output import say
from spectag.cli.threads import Threads, use_threads
from spectag.cli.times import EventThreshold, Gap, Hop, Method, Shortest

if TYPE_CHECKING:
    from rich.table import Table

    from spectag.audio.live import Live
    from spectag.audio.read import Waveform
    from spectag.tag.listener import Moment
    from spectag.tag.results import Event

_BAR = 20  # characters


def listen(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[-]",
            help="- for standard input, in a format such as WAV, FLAC, MP3 or Ogg, or without a header (see --rate).",
            show_default="the microphone",
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = MODEL,
    rate: Annotated[
        int | None,
        typer.Option(metavar="HZ", help="Standard input has samples without a header, at this sampling rate."),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels of samples without a header.")] = 1,
    encoding: Annotated[
        Encoding, typer.Option(help="Encoding of samples without a header, as FFmpeg names it.")
    ] = "s16le",
    microphone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Microphone: its number, or a part of its name.", show_default="the default"),
    ] = None,
    top_k: TopK = TOP_K,
    threshold: TagThreshold = None,
    hop: Hop = None,
    event_method: Method = EVENT_METHOD,
    event_threshold: EventThreshold = None,
    gap: Gap = 0.0,
    shortest: Shortest = 0.0,
    format: Annotated[
        Literal["text", "jsonl"],
        typer.Option("--format", "-f", help="Lines for people, or a JSON object per line for programs."),
    ] = "text",
    device: Device = DEVICE,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: Threads = None,
) -> None:
    """Name the sounds around you while they happen.

    Listens to the microphone, or to standard input: ffmpeg -i URL -f wav - | spectag listen -

    Each answer is about the newest window of sound, which is as long as the model's inputs. Events are told when they
    have ended. Press Ctrl-C to stop.
    """
    if source not in (None, "-"):
        raise typer.BadParameter(f"expected - for standard input, or nothing for the microphone; got {source!r}")
    if source == "-" and sys.stdin.isatty():
        raise typer.BadParameter("expected sound from a pipe, got a terminal: pipe sound into it, or leave - out")
    if rate is None and (channels, encoding) != (1, "s16le"):
        raise typer.BadParameter("--channels and --encoding are about samples without a header: add --rate")
    if rate is not None and source is None:
        raise typer.BadParameter("--rate is about samples from a pipe: add -")
    find_model(model)

    from spectag.audio import live as sounds

    if source is None:
        number = int(microphone) if microphone and microphone.isdecimal() else microphone
        live = sounds.Live(sounds.microphone(number), "microphone", lossy=True)
    else:
        stdin = sys.stdin.fileno()
        pieces = sounds.stream(stdin, "-") if rate is None else sounds.raw(stdin, rate, channels, encoding)
        live = sounds.Live(pieces, "-")

    from spectag.tag.events import EventRule
    from spectag.tag.listener import Listener
    from spectag.tag.tagger import Tagger

    use_threads(threads)
    tagger = Tagger(model, engine=engine, device=device, precision=precision)
    listener = Listener(tagger, EventRule(event_method, event_threshold, gap=gap, shortest=shortest), hop)
    show = _Screen() if format == "text" and sys.stdout.isatty() else _Lines(format)
    clock = _Clock(live)
    try:
        with closing(live.blocks()) as blocks, closing(show):
            for moment in listener.listen(clock.over(blocks), top_k, threshold):
                clock.tell(moment)
                show.show(moment, clock)
    except KeyboardInterrupt:  # the usual end
        pass
    for note in live.notes:
        say("warning", f"{live.name}: {note}")
    say(f"listened to {clock.heard:.1f} s{clock.describe()}")


class _Clock:
    """How long answers take: from the arrival of the newest sound, and in all."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.heard = 0.0  # s
        self.latency = self.largest = 0.0  # s
        self._waited = 0.0  # s
        self._began = time.monotonic()

    def over(self, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        """Pass blocks on, and measure how long they were waited for."""
        while True:
            asked = time.monotonic()
            block = next(blocks, None)
            self._waited += time.monotonic() - asked
            if block is None:
                return
            yield block

    def tell(self, moment: Moment) -> None:
        self.heard = moment.time
        self.latency = time.monotonic() - self.live.arrived
        self.largest = max(self.largest, self.latency)

    @property
    def factor(self) -> float:
        """Seconds of computing per second of sound."""
        return (time.monotonic() - self._began - self._waited) / max(self.heard, 1e-9)

    def describe(self) -> str:
        if not self.heard:
            return ""
        lost = f"; {self.live.lost:.1f} s lost in {self.live.overruns} overruns" if self.live.overruns else ""
        return (
            f"; answers took {self.latency:.2f} s (at most {self.largest:.2f} s) after the sound; "
            f"computing took {self.factor:.3f} of its time{lost}"
        )


def _described(event: Event) -> str:
    return f"{event.label}, {event.onset:.2f} to {event.offset:.2f} s, {event.score:.2f}"


class _Lines:
    """A line per moment."""

    def __init__(self, format: str) -> None:
        self._format = format
        self._overruns = 0

    def show(self, moment: Moment, clock: _Clock) -> None:
        from spectag.tag.results import NO_LABEL

        if self._format == "jsonl":
            print(json.dumps(moment.to_dict(), ensure_ascii=False), flush=True)
        else:
            tags = "  ".join(f"{tag.label} {tag.score:.2f}" for tag in moment.tags)
            nothing = NO_LABEL if moment.unknown else "(no tags)"
            print(f"{moment.time:8.1f} s  {tags or nothing}", flush=True)
            for event in moment.events:
                print(f"  event: {_described(event)}", flush=True)
        if clock.live.overruns > self._overruns:
            self._overruns = clock.live.overruns
            say(
                "warning",
                f"overrun {self._overruns}: the computer is too slow, {clock.live.lost:.1f} s were lost so far",
            )

    def close(self) -> None:
        pass


class _Screen:
    """A part of the terminal that is written again for each moment; events stay above it."""

    def __init__(self) -> None:
        from rich.live import Live as Display

        self._display = Display(auto_refresh=False, transient=True)
        self._display.start()

    def show(self, moment: Moment, clock: _Clock) -> None:
        for event in moment.events:
            self._display.console.print(_described(event), markup=False, highlight=False, emoji=False)
        table = _draw_tags(moment)
        table.caption = f"{moment.time:.1f} s{clock.describe()}"
        table.caption_justify = "left"
        self._display.update(table, refresh=True)

    def close(self) -> None:
        self._display.stop()


def _draw_tags(moment: Moment) -> Table:
    """A row per tag with a bar. Labels are shown as they are, whatever brackets they have."""
    from rich.table import Table
    from rich.text import Text

    from spectag.tag.results import NO_LABEL

    table = Table.grid(padding=(0, 2))
    if moment.unknown and not moment.tags:
        table.add_row(NO_LABEL)
    for tag in moment.tags:
        full = round(tag.score * _BAR)
        bar = Text.assemble(("█" * full, "cyan"), ("░" * (_BAR - full), "dim"))
        table.add_row(Text(tag.label), bar, f"{tag.score:.2f}")
    return table
