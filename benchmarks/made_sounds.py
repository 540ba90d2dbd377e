"""Make sounds by formula, so that a network also hears what recordings at hand lack.

    python benchmarks/made_sounds.py FOLDER [--each 25] [--seed 0]

There is a folder per kind: tones, alarms, telephones, engines, plucked strings, bells, drums, clocks, wind, rain, calls
of birds and insects, sung vowels and so on, five seconds each at 32 kHz. They are for listening, not labels: a teacher
says what it hears in them (``spectag train distill``). The same seed makes the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float64]
Rng = np.random.Generator

RATE, SECONDS = 32_000, 5.0
TIME = np.arange(int(RATE * SECONDS)) / RATE
SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12])  # semitones of a major scale


def tone(frequency: float | Sound, partials: tuple[float, ...] = (1.0,), vibrato: float = 0.0) -> Sound:
    """Harmonics of a frequency in Hz, which may change over time."""
    phase = 2 * np.pi * np.cumsum(frequency + np.zeros_like(TIME)) / RATE
    phase = phase + vibrato * np.sin(2 * np.pi * 5.5 * TIME)
    return sum((level * np.sin((n + 1) * phase) for n, level in enumerate(partials)), np.zeros_like(TIME))


def noise(rng: Rng, colour: float = 0.0) -> Sound:
    """Noise whose power falls as ``1 / f ** colour``."""
    spectrum = np.fft.rfft(rng.standard_normal(len(TIME)))
    spectrum *= np.maximum(np.fft.rfftfreq(len(TIME), 1 / RATE), 20) ** (-colour / 2)
    return np.fft.irfft(spectrum, len(TIME))


def band(x: Sound, low: float, high: float) -> Sound:
    """A sound within a band of frequencies in Hz."""
    sos = scipy.signal.butter(2, [max(low, 20), min(high, RATE * 0.49)], "bandpass", fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sos, x))


def decay(seconds: float, attack: float = 0.002) -> Sound:
    """An envelope that falls by 60 dB within some seconds."""
    return np.minimum(TIME / attack, 1) * np.exp(-6.9 * TIME / seconds)


def repeat(event: Callable[[int], Sound], times: Sound) -> Sound:
    """Events laid over each other at some times in seconds."""
    total = np.zeros_like(TIME)
    for number, start in enumerate(times):
        at = int(start * RATE)
        if 0 <= at < len(total):
            total[at:] += event(number)[: len(total) - at]
    return total


def steady(rng: Rng, low: float, high: float, jitter: float = 0.0) -> Sound:
    """Times of a steady beat, between two rates in events per second."""
    period = 1 / rng.uniform(low, high)
    times = np.arange(rng.uniform(0, 0.5), SECONDS, period)
    return times + rng.normal(0, jitter * period, len(times))


def gate(times: Sound, length: float) -> Sound:
    """1 for some seconds after each time, else 0."""
    return np.minimum(repeat(lambda _: (length > TIME).astype(float), times), 1)


def pluck(rng: Rng, frequency: float, brightness: float, damping: float) -> Sound:
    """A plucked string (Karplus and Strong 1983)."""
    size = max(2, int(RATE / frequency))
    burst = np.zeros_like(TIME)
    burst[:size] = scipy.signal.lfilter([brightness], [1, brightness - 1], rng.uniform(-1, 1, size))
    loop = np.zeros(size + 2)
    loop[0], loop[size], loop[size + 1] = 1, -damping / 2, -damping / 2
    return np.asarray(scipy.signal.lfilter([1.0], loop, burst))


def notes(rng: Rng, low: int = 40, high: int = 76) -> list[float]:
    """Frequencies of a melody in Hz."""
    root = int(rng.integers(low, high - 12))
    return [440 * 2 ** ((root + int(rng.choice(SCALE)) - 69) / 12) for _ in range(32)]


def beeps(rng: Rng) -> Sound:
    return tone(rng.uniform(400, 4000)) * gate(steady(rng, 0.7, 8), rng.uniform(0.03, 0.3))


def siren(rng: Rng) -> Sound:
    low, ratio, rate = rng.uniform(300, 900), rng.uniform(1.3, 2.5), rng.uniform(0.2, 6)
    wave = rng.choice([np.sin, scipy.signal.sawtooth, scipy.signal.square])(2 * np.pi * rate * TIME)
    return tone(low * ratio ** (0.5 + 0.5 * wave), (1, 0.3, 0.2))


def alarm(rng: Rng) -> Sound:
    one, other = rng.uniform(500, 3200, 2)
    switch = scipy.signal.square(2 * np.pi * rng.uniform(0.7, 8) * TIME) > 0
    return np.sign(tone(np.where(switch, one, other * rng.integers(0, 2))))


def telephone(rng: Rng) -> Sound:
    rows, columns = [697, 770, 852, 941], [1209, 1336, 1477, 1633]
    kind = rng.integers(0, 4)
    if kind == 0:  # keys

        def key(_: int) -> Sound:
            return (tone(float(rng.choice(rows))) + tone(float(rng.choice(columns)))) * (TIME < 0.12)

        return repeat(key, steady(rng, 2, 6, 0.1))
    pair = [(350, 440), (440, 480), (480, 620)][kind - 1]  # dial tone, ringing, busy
    on = [np.ones_like(TIME), gate(np.array([0.3, 3.3]), 1.8), gate(np.arange(0, 5, 0.9), 0.45)][kind - 1]
    return (tone(pair[0]) + tone(pair[1])) * on


def ringer(rng: Rng) -> Sound:
    bell = tone(rng.uniform(800, 2400), (1, 0, 0.6, 0, 0.4)) * (
        0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(18, 30) * TIME)
    )
    return bell * gate(steady(rng, 0.3, 1.2), rng.uniform(0.3, 1.2))


def coloured(rng: Rng) -> Sound:
    return noise(rng, rng.uniform(-0.5, 2.2))


def crackle(rng: Rng) -> Sound:
    clicks = (rng.random(len(TIME)) < rng.uniform(5, 300) / RATE) * rng.standard_normal(len(TIME))
    return band(clicks, *sorted(rng.uniform(100, 12_000, 2) * [0.5, 1.0])) + noise(rng, 1) * rng.uniform(0, 0.002)


def engine(rng: Rng) -> Sound:
    rate = rng.uniform(15, 180) * np.interp(TIME, np.linspace(0, SECONDS, 6), rng.uniform(0.6, 1.5, 6))
    pulses = np.maximum(tone(rate, tuple(rng.uniform(0, 1, 8))), 0) ** rng.uniform(1, 4)
    rough = noise(rng, 1.5) * (1 + pulses)
    return band(pulses, 30, rng.uniform(400, 4000)) + rng.uniform(0.1, 1) * rough / rough.std() * pulses.std()


def propeller(rng: Rng) -> Sound:
    rate = rng.uniform(8, 60)
    blades = np.maximum(np.sin(2 * np.pi * rate * TIME), 0) ** rng.uniform(2, 8)
    return band(noise(rng, 1), rng.uniform(50, 300), rng.uniform(1000, 6000)) * (0.2 + blades)


def hum(rng: Rng) -> Sound:
    return tone(float(rng.choice([50, 60, 100, 120])), tuple(rng.uniform(0, 1, 12))) + noise(rng, 1) * 0.05


def strings(rng: Rng) -> Sound:
    melody, brightness, damping = notes(rng), rng.uniform(0.2, 0.9), rng.uniform(0.985, 0.9995)
    chord = int(rng.integers(1, 4))

    def note(n: int) -> Sound:
        return sum(pluck(rng, melody[(n + k) % 32], brightness, damping) for k in range(chord)) + np.zeros_like(TIME)

    return repeat(note, steady(rng, 1, 5, 0.02))


def keys(rng: Rng) -> Sound:
    melody, length = notes(rng, 40, 90), rng.uniform(0.4, 4)
    partials = tuple(rng.uniform(0, 1) / (n + 1) ** rng.uniform(0.5, 2) for n in range(10))
    return repeat(lambda n: tone(melody[n % 32], partials) * decay(length), steady(rng, 1, 6))


def winds(rng: Rng) -> Sound:
    melody = np.repeat(notes(rng, 52, 84), len(TIME) // 16)[: len(TIME)]
    partials = tuple(rng.uniform(0, 1) * (n % 2 == 0 or rng.random() < 0.5) / (n + 1) for n in range(9))
    breath = band(noise(rng), 1000, 8000)
    return tone(np.asarray(melody), partials, rng.uniform(0, 0.6)) + rng.uniform(0, 0.1) * breath / breath.std()


def bowed(rng: Rng) -> Sound:
    melody = np.repeat(notes(rng, 36, 80), len(TIME) // 8)[: len(TIME)]
    saw = scipy.signal.sawtooth(2 * np.pi * np.cumsum(melody) / RATE + 0.4 * np.sin(2 * np.pi * 5.5 * TIME))
    return band(saw, 80, rng.uniform(1500, 8000)) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.2, 1) * TIME))


def bells(rng: Rng) -> Sound:
    ratios = np.array([0.5, 1, 1.2, 1.5, 2, 2.5, 2.67, 3, 4.2, 5.4]) * rng.uniform(0.97, 1.03, 10)
    root, length = rng.uniform(150, 2500), rng.uniform(0.5, 6)

    def strike(_: int) -> Sound:
        parts = [tone(root * r) * decay(length / r) * rng.uniform(0.2, 1) for r in ratios if root * r < RATE / 2]
        return sum(parts, np.zeros_like(TIME))

    return repeat(strike, steady(rng, 0.3, 3, 0.05))


def drums(rng: Rng) -> Sound:
    beat = rng.uniform(0.1, 0.25)
    pattern = rng.integers(0, 4, 8)

    def kick() -> Sound:
        return tone(50 + 150 * np.exp(-TIME * 40)) * decay(0.3)

    def snare() -> Sound:
        return (band(noise(rng), 300, 8000) + 0.5 * tone(190)) * decay(0.25)

    def hat() -> Sound:
        return band(noise(rng), 6000, 15_000) * decay(rng.uniform(0.05, 0.3))

    hits = [kick, snare, hat, lambda: np.zeros_like(TIME)]
    return repeat(lambda n: hits[pattern[n % 8]]() + 0.4 * hat(), np.arange(0, SECONDS, beat))


def synthesizer(rng: Rng) -> Sound:
    melody = np.repeat(notes(rng, 30, 80), len(TIME) // 24)[: len(TIME)]
    phase = 2 * np.pi * np.cumsum(melody) / RATE
    wave = rng.choice([scipy.signal.sawtooth, scipy.signal.square])(phase)
    beat = np.maximum(np.sin(2 * np.pi * rng.uniform(1.5, 2.5) * TIME), 0) ** 20
    return band(wave, 40, rng.uniform(800, 9000)) + beat * tone(60) * rng.uniform(0, 2)


def clock(rng: Rng) -> Sound:
    centre, length = rng.uniform(800, 6000), rng.uniform(0.01, 0.06)
    return repeat(
        lambda n: band(noise(rng), centre * 0.7, centre * 1.4) * decay(length) * (1 - 0.4 * (n % 2)),
        steady(rng, 1, 5, 0.003),
    )


def heart(rng: Rng) -> Sound:
    beat = steady(rng, 0.8, 2, 0.02)
    thump = tone(rng.uniform(35, 80)) * decay(0.2, 0.01)
    return repeat(lambda n: thump * (1 - 0.4 * (n % 2)), np.sort(np.concatenate([beat, beat + 0.3])))


def drops(rng: Rng) -> Sound:
    def drop(_: int) -> Sound:
        start = rng.uniform(400, 3000)
        return tone(start * (1 + TIME * rng.uniform(0, 12))) * decay(rng.uniform(0.03, 0.2)) * rng.uniform(0.2, 1)

    return repeat(drop, rng.uniform(0, SECONDS, int(rng.integers(3, 60))))


def rain(rng: Rng) -> Sound:
    hits = (rng.random(len(TIME)) < rng.uniform(50, 3000) / RATE) * rng.exponential(1, len(TIME))
    hiss = band(noise(rng), 800, 12_000)
    return band(hits, 500, 9000) * 4 + rng.uniform(0.02, 1) * hiss / hiss.std() * 0.1


def wind(rng: Rng) -> Sound:
    gusts = np.interp(TIME, np.linspace(0, SECONDS, 12), rng.uniform(0.1, 1, 12))
    whistle = tone(400 + 500 * gusts) * rng.uniform(0, 0.2)
    hiss = band(noise(rng, 1), 80, rng.uniform(600, 4000))
    return (hiss / hiss.std() + whistle) * gusts**2


def waves(rng: Rng) -> Sound:
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * TIME + rng.uniform(0, 6))) ** 2
    return band(noise(rng, 0.7), 60, 9000) * (0.15 + swell)


def thunder(rng: Rng) -> Sound:
    rumble = band(noise(rng, 1.5), 20, rng.uniform(150, 900))
    return repeat(lambda _: rumble * decay(rng.uniform(1, 5), rng.uniform(0.01, 0.4)), rng.uniform(0, 4, 4))


def shots(rng: Rng) -> Sound:
    low, length = rng.uniform(40, 400), rng.uniform(0.1, 1.5)
    times = steady(rng, 0.3, 12) if rng.random() < 0.5 else rng.uniform(0, 4.5, int(rng.integers(1, 5)))
    return repeat(lambda _: band(noise(rng, 0.5), low, 9000) * decay(length, 0.0005), times)


def bird(rng: Rng) -> Sound:
    base, spread, length = rng.uniform(1500, 6000), rng.uniform(200, 2500), rng.uniform(0.05, 0.4)
    shape = rng.uniform(-1, 1, 4)

    def call(_: int) -> Sound:
        curve = np.interp(TIME / length, np.linspace(0, 1, 4), shape + rng.normal(0, 0.1, 4))
        return tone(base + spread * curve) * np.clip(np.sin(np.pi * TIME / length), 0, 1) * (length > TIME)

    return repeat(call, steady(rng, 0.8, 6, 0.15))


def insect(rng: Rng) -> Sound:
    trill = 0.5 + 0.5 * scipy.signal.square(2 * np.pi * rng.uniform(15, 70) * TIME)
    return tone(rng.uniform(2500, 9000)) * trill * gate(steady(rng, 0.5, 4), rng.uniform(0.1, 1))


def buzz(rng: Rng) -> Sound:
    rate = rng.uniform(90, 700) * np.interp(TIME, np.linspace(0, SECONDS, 10), rng.uniform(0.9, 1.1, 10))
    return tone(rate, tuple(1 / (n + 1) for n in range(12))) * (
        0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * TIME)
    )


def voice(rng: Rng) -> Sound:
    """Pulses through formants: a sung or spoken vowel, or a growl."""
    pitch = rng.uniform(60, 500) * np.interp(TIME, np.linspace(0, SECONDS, 16), rng.uniform(0.8, 1.25, 16))
    source = np.maximum(tone(pitch, vibrato=rng.uniform(0, 0.4)), 0) ** 4 + rng.uniform(0, 0.2) * noise(rng)
    total = np.zeros_like(TIME)
    for _ in range(4):  # vowels
        formants = [rng.uniform(250, 900), rng.uniform(800, 2500), rng.uniform(2200, 3600)]
        total += sum(band(source, f * 0.9, f * 1.1) for f in formants) * gate(rng.uniform(0, 5, 4), 0.4)
    return total


def whistle(rng: Rng) -> Sound:
    melody = np.interp(TIME, np.linspace(0, SECONDS, 14), rng.uniform(700, 2500, 14))
    return tone(melody) * gate(steady(rng, 0.5, 3), rng.uniform(0.2, 1.5)) + 0.02 * noise(rng)


def steps(rng: Rng) -> Sound:
    def step(_: int) -> Sound:
        heel = band(noise(rng, 1), 60, 400) * decay(0.08)
        return heel / heel.std() + 0.5 * band(noise(rng), 1000, 6000) * decay(rng.uniform(0.02, 0.15), 0.01)

    return repeat(step, steady(rng, 1.2, 4, 0.05))


def claps(rng: Rng) -> Sound:
    count = int(rng.choice([2, 6, 20, 200]))
    return repeat(
        lambda _: band(noise(rng), rng.uniform(600, 1200), rng.uniform(2000, 5000)) * decay(0.06),
        rng.uniform(0, SECONDS, count),
    )


def scrape(rng: Rng) -> Sound:
    motion = np.maximum(np.sin(2 * np.pi * rng.uniform(1, 8) * TIME), 0) ** 0.5
    low = rng.uniform(300, 3000)
    return band(noise(rng), low, low * rng.uniform(1.5, 4)) * motion


def modem(rng: Rng) -> Sound:
    bits = np.repeat(rng.integers(0, 4, 4000), 40)[: len(TIME)]
    return tone(np.array([1070.0, 1270.0, 2025.0, 2225.0])[bits])


def zap(rng: Rng) -> Sound:
    length, start, end = rng.uniform(0.1, 0.8), rng.uniform(200, 5000), rng.uniform(50, 5000)
    sweep = start * (end / start) ** np.clip(TIME / length, 0, 1)
    return repeat(lambda _: np.sign(tone(sweep)) * decay(length * 1.5) * (length > TIME), steady(rng, 0.5, 4))


KINDS = [
    beeps, siren, alarm, telephone, ringer, coloured, crackle, engine, propeller, hum, strings, keys, winds, bowed,
    bells, drums, synthesizer, clock, heart, drops, rain, wind, waves, thunder, shots, bird, insect, buzz, voice,
    whistle, steps, claps, scrape, modem, zap,
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=25, help="sounds of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for kind in KINDS:
        folder = args.folder / kind.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(args.each):
            rng = np.random.default_rng([args.seed, number, *kind.__name__.encode()])
            sound = kind(rng)
            peak = np.abs(sound).max()
            level = 10 ** (rng.uniform(-20, 0) / 20)
            soundfile.write(folder / f"{number:03}.flac", sound * (level / peak if peak else 0), RATE)
        print(f"{folder}: {args.each} sounds", flush=True)


if __name__ == "__main__":
    main()
