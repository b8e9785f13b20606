"""Plays one scene against a server on this machine: `python3 blackbox PORT SCENE [ARGUMENT..]`."""

import faulthandler
import json
import sys

import accounts
import groups
import hostile
import messages

SCENES = {
    "accounts": accounts.accounts,
    "friendships": accounts.friendships,
    "sessions": accounts.sessions,
    "messages": messages.messages,
    "pipelined": messages.pipelined,
    "offline": messages.offline,
    "slow_reader": messages.slow_reader,
    "before_crash": messages.before_crash,
    "after_crash": messages.after_crash,
    "groups": groups.groups,
    "framing": hostile.framing,
    "garbage": hostile.garbage,
    "too_large": hostile.too_large,
    "injection": hostile.injection,
}

if __name__ == "__main__":
    port, scene, *arguments = sys.argv[1:]
    # A server that is stuck shows where it left us.
    faulthandler.dump_traceback_later(540, exit=True)
    SCENES[scene](int(port), *(json.loads(argument) for argument in arguments))
