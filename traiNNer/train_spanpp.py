"""Trains SpanPP with traiNNer-redux: ``python traiNNer/train_spanpp.py -opt FILE.yml``.

Takes every option of the trainer's own train.py and hands over to it, after two things:
the config is checked, and the trainer is given models that know many scales.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch.distributed

ROOT = Path(__file__).resolve().parents[1]
"""The trainer's checkout, where its train.py and its traiNNer package are."""


def main() -> None:
    """Runs the trainer; what is wrong with the config is said in one line."""
    # this script's folder is a package, whose modules must not be found without it
    sys.path[0] = str(ROOT)
    from traiNNer.check.check_dependencies import check_dependencies

    check_dependencies()
    try:
        import spanpp_core  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(
            f"SpanPP needs its package ({error}): pip install the folder that this"
            " traiNNer folder came in"
        )
    import train

    from traiNNer.models import spanpp_model
    from traiNNer.utils import spanpp_config
    from traiNNer.utils.config import Config

    opt, args = Config.load_config_from_file(str(ROOT), is_train=True)
    try:
        spanpp_config.check(opt)
    except ValueError as error:
        sys.exit(f"{args.opt}: {error}")
    if opt.dist:
        opt.manual_seed = shared_seed(opt.manual_seed)
    spanpp_model.install()
    train.train_pipeline(str(ROOT))


def shared_seed(seed: int | None) -> int | None:
    """Returns the seed of the first process in all: the same scales on every GPU."""
    seeds = [seed]
    torch.distributed.broadcast_object_list(seeds, src=0)
    return seeds[0]


if __name__ == "__main__":
    main()
