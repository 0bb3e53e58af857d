"""From the parameters to a policy that runs, and from a policy back to parameters that tell what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger

from ...engine import DeviceLostError, EngineError
from ...engine.hub import find_folder
from ...engine.model import reading
from ...engine.tunables import BUDGETS, TOKENS, Tunables, tunable
from ...settings import SettingError
from ..common.parameters import Parameters, Values
from ..common.process import one_line
from .orders import options_of
from .settings import CAMERAS, STATES, resolve_checkpoint

if TYPE_CHECKING:
    from ...engine import Policy, PolicyInfo


def load(values: Values) -> Policy:
    """Load the checkpoint that the parameters `values` name; raises EngineError or SettingError in one line."""
    folder = find_folder(resolve_checkpoint(values["checkpoint"]), values["allow_download"])
    reading.begin(folder)
    from ...engine import Policy  # brings torch, which takes as long as the reading beside it

    policy = Policy.load(
        folder,
        device=values["device"],
        dtype=values["dtype"],
        quantisation=values["quantisation"],
        unnorm_key=values["unnorm_key"] or None,
        preprocess=values["preprocess"],
    )
    policy.set_tunables(policy.fitting(options_of(values).tunables))
    return policy


def refusal(error: Exception, node: str) -> str:
    """Why the `node` of that full name could not be configured, and what to do."""
    name = "" if isinstance(error, (EngineError, SettingError)) else f"{type(error).__name__}: "
    again = "" if isinstance(error, DeviceLostError) else f"; mend it, then ros2 lifecycle set {node} configure"
    return f"configure failed: {name}{one_line(error)}{again}"


def announce(info: PolicyInfo, seconds: float, logger: RcutilsLogger) -> None:
    """Log what was loaded within `seconds`, and what of its folder was left aside."""
    line = f"{info.vision_backbone_id}: {info.parameters / 1e6:.1f} M parameters, {info.visual_tokens} visual tokens"
    line += f", on {info.device} in {info.dtype}, passes {info.backend}, ready after {seconds:.1f} s"
    logger.info(line)
    for remark in filter(None, (*info.remarks, info.backend_remark)):
        logger.warning(remark)


def adopt(settings: Parameters, policy: Policy, logger: RcutilsLogger) -> None:
    """Let the parameters tell what `policy` runs, and how far they go with it."""
    wanted = Tunables.of(settings.values)
    try:
        policy.check(wanted)
    except SettingError as error:
        fitting = policy.fitting(wanted).parameters.items()
        runs = {name: value for name, value in fitting if value != wanted.parameters[name]}
        told = ", ".join(f"{name} {value}" for name, value in runs.items())
        line = f"{one_line(error)}; this policy runs with {told}"
        logger.warning(line)
        settings.adopt(runs)
    info = policy.info
    facts = {CAMERAS: info.cameras, STATES: len(info.state_names), TOKENS: info.tokens}
    budgets = [tunable(field).name for field in BUDGETS]
    highs = dict.fromkeys(budgets, info.visual_tokens) | ({"taper_rows": 0} if policy.fixed_shapes else {})
    settings.narrow(highs, facts)
