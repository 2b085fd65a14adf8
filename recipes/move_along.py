"""Moves a fine-tuned model along with the model it began from, once that is trained further.

Writes fine + share * (new - old), weight by weight (task arithmetic, Ilharco et al., 2023):
what the further training changed is added to what the fine-tuning changed, and costs no
training. A short fine-tuning and the balance of brightness come after it.

    python recipes/move_along.py FINE OLD NEW OUT --share 0.5
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from spanpp_core import checkpoint


def main() -> None:
    """Reads the three files and writes the fourth, a slim float32 file."""
    parser = argparse.ArgumentParser(
        description="Writes fine + share * (new - old), weight by weight."
    )
    parser.add_argument("fine", help="the fine-tuned model, such as a repair model")
    parser.add_argument("old", help="the model that it was fine-tuned from")
    parser.add_argument("new", help="the same, trained further")
    parser.add_argument("out", help="the safetensors file to write")
    parser.add_argument(
        "--share", type=float, default=0.5, help="of the change, 0 to 1"
    )
    args = parser.parse_args()
    fine, old, new = map(checkpoint.read, (args.fine, args.old, args.new))
    if not fine.hyper == old.hyper == new.hyper:
        parser.error("the three models are not of one size; give three that are")
    moved = {
        name: each + args.share * (new.state_dict[name] - old.state_dict[name])
        if each.is_floating_point()
        else each
        for name, each in fine.state_dict.items()
    }
    checkpoint.write_slim(args.out, replace(fine, state_dict=moved))


if __name__ == "__main__":
    main()
