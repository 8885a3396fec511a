"""The step ``env``: asks for missing settings, checks each answer at once, and writes .env."""

from __future__ import annotations

from collections.abc import Mapping

from .questions import Question, Questions
from .refusal import SetupRefused
from .settings import SECRETS, check_form
from .setup import Setup
from .terminal import TRIES


def write_env(setup: Setup) -> bool:
    """Run the step. Returns whether .env was changed. Accepted answers are written even if a later one is refused."""
    path = setup.env_file.path
    setup.terminal.step(f"settings, in {path}")
    _need_all(setup)
    accepted: dict[str, str] = {}
    try:
        for question in Questions(setup, accepted):
            accepted.update(_answered(setup, question))
    finally:
        changed = setup.env_file.write(accepted)
    setup.settings.config()
    setup.terminal.say(f"{path} was written." if changed else f"{path}: nothing to change.")
    return changed


def option_of(name: str) -> str:
    """Return the command-line option for a setting. A secret's option takes the name of a file."""
    return f"--{name.lower().replace('_', '-')}{'-file' if name in SECRETS else ''}"


def _need_all(setup: Setup) -> None:
    """Raise `SetupRefused` if there is nobody to ask and required settings are missing. It lists all of them."""
    if setup.terminal.can_ask:
        return
    texts = setup.settings.texts()
    needed = ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"]
    if "BASE_URL" not in texts:
        needed.insert(0, "DOMAIN")
    missing = [name for name in needed if name not in texts and f"{name}_FILE" not in texts]
    if missing:
        raise SetupRefused(
            ", ".join(missing),
            found="not set, and there is no terminal to ask on",
            wanted="these settings, in .env, in the environment or as options",
            do=f"give {', '.join(map(option_of, missing))}, or run this in a terminal without --yes",
        )


def _answered(setup: Setup, question: Question) -> dict[str, str]:
    """Return the question's settings, checked; empty if there is no answer, and none is required."""
    texts = {name: setup.settings.text(name) for name in question.names}
    for tries_left in reversed(range(TRIES)):
        if not all(texts.values()):
            texts = _asked(setup, question, texts)
        if not all(texts.values()):
            break
        try:
            return _checked(setup, question, texts)
        except SetupRefused as refusal:
            if not setup.terminal.can_ask or not tries_left:
                raise
            setup.terminal.say(refusal.report())
            texts = dict.fromkeys(texts, "")
    return {}


def _asked(setup: Setup, question: Question, texts: Mapping[str, str]) -> dict[str, str]:
    if question.suggest is not None:
        return dict.fromkeys(texts, question.suggest())
    if not setup.terminal.can_ask:
        setup.terminal.say(f"{', '.join(question.names)} is not set: {question.default}.")
        return dict(texts)
    return {
        name: texts[name] or _typed(setup, question, prompt, secret=name in SECRETS)
        for name, prompt in zip(question.names, question.prompts, strict=True)
    }


def _typed(setup: Setup, question: Question, prompt: str, *, secret: bool) -> str:
    """Return the operator's answer, which is empty only if the question has a default."""
    if question.default is not None:
        return setup.terminal.ask(f"{prompt} (Enter: {question.default})", secret=secret)
    for _ in range(TRIES):
        if text := setup.terminal.ask(prompt, secret=secret):
            return text
    raise SetupRefused(prompt, found="no answer", wanted="an answer", do="run this again")


def _checked(setup: Setup, question: Question, texts: Mapping[str, str]) -> dict[str, str]:
    """Check the settings, and return those that are to be written to .env."""
    for name, text in texts.items():
        check_form(name, text)
    if found := question.check(list(texts.values())):
        setup.terminal.say(found)
    kept = setup.env_file.read()
    return {name: text for name, text in texts.items() if not _is_in_its_own_file(name, text, kept, setup)}


def _is_in_its_own_file(name: str, text: str, kept: Mapping[str, str], setup: Setup) -> bool:
    """Whether .env names a file with this secret. Raises `SetupRefused` if that file has a different secret."""
    if name in kept or f"{name}_FILE" not in kept:
        return False
    if name in setup.settings.given or text != setup.settings.text(name):
        raise SetupRefused(
            name,
            found=f"{setup.env_file.path} sets {name}_FILE, but a different secret was given",
            wanted="only one of them",
            do=f"write the secret into {kept[f'{name}_FILE']}, or remove that line",
        )
    return True
