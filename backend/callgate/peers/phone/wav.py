"""Reads any WAV as µ-law at 8 kHz, and writes a call's two sides as a stereo WAV.

libsndfile (soundfile) reads the files and converts µ-law; libsoxr changes the sample rate.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from callgate.core.wire.media_stream import SAMPLE_RATE
from callgate.errors import CallgateError

MAX_SECONDS: Final = 300  # of one recording, because it is kept in memory
_RAW: Final[dict[str, Any]] = {"samplerate": SAMPLE_RATE, "format": "RAW", "subtype": "ULAW"}

Samples = npt.NDArray[np.float32]  # mono, -1 to 1


class RecordingError(CallgateError):
    """A sound file that can't be read or written."""


def read_ulaw(path: Path) -> bytes:
    """Read a sound file as µ-law, 8,000 bytes per second: channels are mixed, and the sample rate is converted.

    Raises `RecordingError`.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is not there, or is not a file: name a recording with speech")
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                raise RecordingError(f"{path} contains no sound: name a recording with speech")
            if file.frames > MAX_SECONDS * file.samplerate:
                raise RecordingError(f"{path} is longer than {MAX_SECONDS // 60} minutes: name a shorter recording")
            samples = file.read(dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except (OSError, soundfile.SoundFileError) as exc:
        raise RecordingError(f"{path} can't be read as a recording: {_reason(exc)}. Name a WAV file") from exc
    if not np.isfinite(samples).all():
        raise RecordingError(f"{path} contains samples that are not numbers: make the recording again")
    return encode(_resample(samples, rate, SAMPLE_RATE))


def encode(samples: Samples) -> bytes:
    """Encode samples at 8 kHz as µ-law."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(samples, -1.0, 1.0), **_RAW)
    return out.getvalue()


def decode(ulaw: bytes) -> Samples:
    """Decode µ-law to samples at 8 kHz."""
    return _DECODED[np.frombuffer(ulaw, np.uint8)]


def at_speed(ulaw: bytes, speed: float) -> bytes:
    """Return the same words ``speed`` times as fast, and higher in pitch by the same factor, as another voice."""
    return ulaw if speed == 1.0 else encode(_resample(decode(ulaw), SAMPLE_RATE * speed, SAMPLE_RATE))


def write_stereo(path: Path, left: bytes, right: bytes) -> None:
    """Write two µ-law sides of the same length as a WAV of 16 bits, 8 kHz. Raises `RecordingError`."""
    try:
        soundfile.write(path, np.stack([decode(left), decode(right)], axis=1), SAMPLE_RATE, "PCM_16", format="WAV")
    except (OSError, soundfile.SoundFileError) as exc:
        raise RecordingError(f"{path} can't be written: {_reason(exc)}") from exc


def _resample(samples: Samples, from_rate: float, to_rate: float) -> Samples:
    return samples if from_rate == to_rate else cast(Samples, soxr.resample(samples, from_rate, to_rate))


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return (getattr(exc, "error_string", None) or str(exc)).rstrip(".")


_DECODED: Final[Samples] = soundfile.read(io.BytesIO(bytes(range(256))), channels=1, dtype="float32", **_RAW)[0]
