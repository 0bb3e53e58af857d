"""Inverse kinematics of the arm: damped least squares with a pull towards the home posture."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from ..control.pose import Pose

JOINTS = 7
HOME = np.array([0.0, 0.02, 0.0, -2.28, 0.0, 2.30, 0.785])
REGULARISER = 0.02**2 * np.eye(6)
POSTURE_GAIN = 0.02


def tool_pose(data: mujoco.MjData, site: int) -> Pose:
    """Pose of the point between the finger tips."""
    quaternion = np.empty(4)  # MuJoCo's order: w first
    mujoco.mju_mat2Quat(quaternion, data.site_xmat[site])
    return Pose(data.site_xpos[site].copy(), np.roll(quaternion, -1))


class InverseKinematics:
    """Follows a pose target with joint positions, on a kinematic copy of the model that never sees the physics."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site("tool").id
        self._low, self._high = model.jnt_range[:JOINTS].T
        self._jacobian = np.zeros((6, model.nv))
        self._error = np.zeros(6)
        self._quaternion = np.zeros(4)

    def reset(self, joints: NDArray[np.float64]) -> None:
        """Start from `joints` [7] in radians."""
        self._data.qpos[:JOINTS] = joints

    def solve(self, target: Pose, iterations: int = 2) -> NDArray[np.float64]:
        """Joint positions [7] in radians that bring the tool towards `target`, starting from the last solution."""
        data, joints = self._data, self._data.qpos[:JOINTS]
        goal = np.roll(target.quaternion, 1)
        for _ in range(iterations):
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            mujoco.mj_jacSite(self._model, data, self._jacobian[:3], self._jacobian[3:], self._site)
            rotation = data.site_xmat[self._site]
            mujoco.mju_mat2Quat(self._quaternion, rotation)
            np.subtract(target.position, data.site_xpos[self._site], out=self._error[:3])
            mujoco.mju_subQuat(self._error[3:], goal, self._quaternion)  # in the tool's own axes
            self._error[3:] = rotation.reshape(3, 3) @ self._error[3:]
            jacobian = self._jacobian[:, :JOINTS]
            posture = POSTURE_GAIN * (HOME - joints)
            gram = jacobian @ jacobian.T + REGULARISER
            joints += posture + jacobian.T @ np.linalg.solve(gram, self._error - jacobian @ posture)
            np.clip(joints, self._low, self._high, out=joints)
        return joints.copy()
