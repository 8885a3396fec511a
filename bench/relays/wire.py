"""What every reference relay sends to the model at the start of a call. Each has its own audio path."""

import json
import sys

SESSION_UPDATE = json.dumps(
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "You are a friendly assistant on the telephone.",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
                "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
            },
        },
    }
)
RESPONSE_CREATE = json.dumps({"type": "response.create"})


def arguments() -> tuple[int, str]:
    """Return the port to listen on and the model's URL."""
    return int(sys.argv[1]), sys.argv[2]
