"""The simulated arm as a robot description (URDF), and its numbers from MuJoCo to compare with."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from vla_entropy_ros.sim.arm import JOINTS

# isort: split
import mujoco  # after the simulator, which chooses the GL library

BASE, TOOL = "base_link", "tool"


def description(model: mujoco.MjModel) -> str:
    """URDF of the arm in `model`: joint frames at the bodies' origins, a link per body, no shapes."""
    lines, parent = ['<robot name="arm">', f'<link name="{BASE}"/>'], BASE
    body = int(model.site("tool").bodyid[0])
    path: list[int] = []
    while body:
        path.insert(0, body)
        body = int(model.body(body).parentid[0])
    for body in path:
        name, place = model.body(body).name, _place(model.body(body).pos, model.body(body).quat)
        joints = range(model.body(body).jntadr[0], model.body(body).jntadr[0] + model.body(body).jntnum[0])
        lines.append(f'<link name="{name}"/>')
        for number in joints:
            assert number < JOINTS
            assert not model.joint(number).pos.any()
            low, high = model.jnt_range[number]
            axis = " ".join(map(repr, map(float, model.joint(number).axis)))
            lines.append(
                f'<joint name="{model.joint(number).name}" type="revolute">{place}<axis xyz="{axis}"/>'
                f'<limit lower="{low}" upper="{high}" velocity="3.0" effort="1"/>'
                f'<parent link="{parent}"/><child link="{name}"/></joint>'
            )
        if not joints:
            lines.append(
                f'<joint name="to_{name}" type="fixed">{place}<parent link="{parent}"/><child link="{name}"/></joint>'
            )
        parent = name
    site = model.site("tool")
    place = _place(site.pos, site.quat)
    lines.append(f'<link name="{TOOL}"/><joint name="to_{TOOL}" type="fixed">{place}')
    lines.append(f'<parent link="{parent}"/><child link="{TOOL}"/></joint></robot>')
    return "\n".join(lines)


def _place(position: np.ndarray, quaternion: np.ndarray) -> str:
    xyz = " ".join(map(repr, map(float, position)))
    angles = Rotation.from_quat(np.roll(quaternion, -1)).as_euler("xyz")
    return f'<origin xyz="{xyz}" rpy="{" ".join(map(repr, map(float, angles)))}"/>'
