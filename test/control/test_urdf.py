"""Of a robot description only the chain is judged; what is wrong in it is refused by joint, attribute and value."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.control import DescriptionError, Kinematics, read_chain

from .test_kinematics import PORTAL

SLIDE = '<limit lower="0" upper="0.5" velocity="0.1" effort="1"/>'
LOOSE = '<joint {}><parent link="c"/><child link="loose"/>{}</joint></robot>'


def besides(attributes: str, content: str = "") -> str:
    """The portal with a further joint, at the end of which no chain ends."""
    return PORTAL.replace("</robot>", LOOSE.format(attributes, content))


def refusal(text: str) -> str:
    with pytest.raises(DescriptionError) as refused:
        read_chain(text, "a", "c")
    said = str(refused.value)
    assert said.isprintable()
    return said


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ('velocity="nan"', "joint 'slide': <limit> velocity=\"nan\" is not finite, valid is a finite number from 0 on"),
        ('velocity="inf"', '<limit> velocity="inf" is not finite'),
        ('velocity="-1"', "joint 'slide': <limit> velocity=-1, valid is 0 (no limit) or more"),
        ('velocity="fast"', '<limit> velocity="fast" can\'t be read'),
        ('lower="nan"', "joint 'slide': <limit> lower=\"nan\" is not finite, valid is a finite number"),
        ('upper="inf"', '<limit> upper="inf" is not finite'),
        ('lower="-inf"', '<limit> lower="-inf" is not finite'),
        ('lower="1e999"', '<limit> lower="1e999" is not finite'),
        ('upper=""', '<limit> upper="" can\'t be read'),
        ('upper="1_0"', '<limit> upper="1_0" can\'t be read'),
        ('lower="0.6" upper="0.5"', "joint 'slide': <limit> lower=0.6 is above upper=0.5, valid is at most upper"),
        ('lower="0.1"', "<limit> lower=0.1 is above upper=0"),
        ("", None),
        ('lower="-0.2" upper="-0.2" velocity="0"', None),
    ],
)
def test_limits_of_the_chain_are_finite_and_ordered(limit: str, said: str | None) -> None:
    text = PORTAL.replace(SLIDE, f"<limit {limit}/>")
    if said is None:
        assert Kinematics(read_chain(text, "a", "c")).speed[0] == np.inf
    else:
        assert said in refusal(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SLIDE, "", "joint 'slide' is prismatic and has no <limit>"),
        (
            "</joint>",
            '<mimic joint="turn" multiplier="2"/></joint>',
            "joint 'slide' mimics 'turn': it can't be commanded",
        ),
        ('name="slide" ', "", "the joint from link 'a' to link 'b' has no name"),
        ('name="slide" ', 'name=" " ', "the joint from link 'a' to link 'b' has no name"),
        ('name="turn"', 'name="slide"', "joint 'slide' from link 'a' to link 'b' shares its name with another"),
        ('type="prismatic"', "", "joint 'slide' is of no type: valid are revolute"),
        ('type="prismatic"', 'type="planar"', "joint 'slide' is of type 'planar': valid are revolute"),
        ('<axis xyz="0 0 2"/>', '<axis xyz="0 nan 2"/>', "joint 'slide': <axis> xyz=\"0 nan 2\" is not three numbers"),
        ('<axis xyz="0 0 2"/>', '<axis xyz="0 0 0"/>', "joint 'slide': <axis> xyz=\"0 0 0\" has no direction"),
        ('xyz="1 0 0"', 'rpy="1 0 inf"', "joint 'turn': <origin> rpy=\"1 0 inf\" is not three numbers"),
        ('xyz="1 0 0"', 'xyz="1e300 0 0"', "joint 'turn': <origin> xyz is 1e+300 m away, valid is up to 1000 m"),
        ('"slide" type="prismatic"', '"a&#10;b" type="p&#9;"', "joint 'a?b' is of type 'p?': valid are revolute"),
        (
            'parent link="a"',
            'parent link="c"',
            "no chain from link 'a' to link 'c': going back from 'c' it goes in a circle",
        ),
        ('parent link="b"', 'parent link="x"', "going back from 'c' it ends at 'x'"),
    ],
)
def test_what_is_wrong_in_the_chain_is_named(old: str, new: str, said: str) -> None:
    assert said in refusal(PORTAL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("attributes", "content"),
    [
        ('name="ball" type="floating"', ""),
        ('name="desk" type="planar"', '<axis xyz="0 0 0"/>'),
        ('name="odd" type="unheard of"', '<origin xyz="a b c"/><limit velocity="nan" lower="1" upper="0"/>'),
        ('type="revolute"', ""),
        ("", ""),
        ('name="finger" type="prismatic"', '<mimic joint="slide"/>'),
    ],
)
def test_joints_outside_the_chain_may_be_anything(attributes: str, content: str) -> None:
    assert read_chain(besides(attributes, content), "a", "c").names == ("slide", "turn")


def test_a_joint_outside_the_chain_must_not_share_a_name_with_one_inside() -> None:
    assert "shares its name with another" in refusal(besides('name="turn" type="fixed"'))
    owned = PORTAL.replace("</robot>", '<ros2_control><joint name="turn"/></ros2_control></robot>')
    assert read_chain(owned, "a", "c").names == ("slide", "turn")  # a section that speaks about the same joint


def test_two_joints_that_end_at_one_link_of_the_chain_are_named() -> None:
    text = PORTAL.replace("</robot>", LOOSE.format('name="also" type="fixed"', "").replace('"loose"', '"b"'))
    assert "joints 'slide' and 'also' both end at link 'b'" in refusal(text)


@pytest.mark.parametrize("axis", ["0 0 0", "none at all", "nan nan nan"])
def test_a_fixed_joint_may_have_any_axis_and_limits(axis: str) -> None:
    fixed = f'<axis xyz="{axis}"/><limit lower="2" upper="1" velocity="nan"/>'
    text = PORTAL.replace('type="continuous"', 'type="fixed"').replace('<axis xyz="0 0 1"/>', fixed)
    assert read_chain(text, "a", "c").names == ("slide",)


def test_an_axis_of_any_length_has_its_direction() -> None:
    for axis in ("0 0 1e-320", "0 0 1e300", "0 0 2"):
        chain = read_chain(PORTAL.replace("0 0 2", axis), "a", "c")
        np.testing.assert_allclose(chain.moving[0].axis, [0, 0, 1], atol=1e-12)


def test_a_chain_of_too_many_joints_is_refused() -> None:
    links = "".join(f'<link name="l{number}"/>' for number in range(5001))
    joints = "".join(
        f'<joint name="j{number}" type="continuous"><parent link="l{number}"/><child link="l{number + 1}"/></joint>'
        for number in range(5000)
    )
    text = f"<robot>{links}{joints}</robot>"
    with pytest.raises(DescriptionError, match="5000 joints move between link 'l0' and link 'l5000': valid are"):
        read_chain(text, "l0", "l5000")
    with pytest.raises(DescriptionError, match=r"no link 'l50x' in the robot description: valid are .* and 4989 more"):
        read_chain(text, "l50x", "l5000")


numbers = st.one_of(
    st.floats().map(str), st.sampled_from(["", " ", "nan", "-inf", "1e400", "x", "0", "-0", "١", "0x1"])
)
words = st.one_of(
    numbers, st.text(max_size=8), st.sampled_from(["a", "b", "c", "loose", "slide", "turn", "fixed", "revolute"]),
    st.lists(numbers, max_size=4).map(" ".join),
)  # fmt: skip
TAGS = ("parent", "child", "origin", "axis", "limit", "mimic", "joint", "link", "robot", "other")
NAMES = ("link", "name", "type", "xyz", "rpy", "lower", "upper", "velocity", "joint")
Tree = tuple[str, dict[str, str], list[Any]]
attributes = st.dictionaries(st.sampled_from(NAMES), words, max_size=4)
trees: st.SearchStrategy[Tree] = st.recursive(
    st.tuples(st.sampled_from(TAGS), attributes, st.just([])),
    lambda inner: st.tuples(st.sampled_from(TAGS), attributes, st.lists(inner, max_size=4)),
    max_leaves=12,
)


def xml(tree: Tree) -> str:
    tag, values, inside = tree
    said = "".join(f" {name}={quoteattr(value)}" for name, value in values.items())
    return f"<{tag}{said}>{''.join(map(xml, inside))}</{tag}>"


def judge(text: str) -> None:
    """Whatever the text, it is a chain that can be walked or a refusal in one line."""
    said = ""
    try:
        arm = Kinematics(read_chain(text, "a", "c"))
    except DescriptionError as error:
        said = str(error)
    if said:
        assert said.isprintable()
        return
    pose = arm.forward(np.clip(np.zeros(len(arm.names)), arm.low, arm.high))
    assert np.all(arm.low <= arm.high)
    assert np.all(arm.speed > 0)
    assert np.all(np.isfinite(pose.position)) or np.abs(arm.low).max() > 1e100 or np.abs(arm.high).max() > 1e100


@given(st.lists(trees, max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_xml_ends_in_a_traceback(more: list[Tree]) -> None:
    judge(PORTAL.replace("</robot>", "".join(map(xml, more)) + "</robot>"))
    judge(f'<robot><link name="a"/><link name="c"/>{"".join(map(xml, more))}</robot>')


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_value_of_an_attribute_ends_in_a_traceback(data: st.DataObject) -> None:
    text = PORTAL
    for _ in range(data.draw(st.integers(1, 4))):
        spots = [spot for spot in range(len(text)) if text.startswith('="', spot)]
        spot = data.draw(st.sampled_from(spots))
        end = text.index('"', spot + 2)
        text = text[: spot + 1] + quoteattr(data.draw(words)).replace("'", '"') + text[end + 1 :]
    judge(text)


@given(st.text(max_size=60), st.integers(0, len(PORTAL)), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_no_damaged_text_ends_in_a_traceback(piece: str, spot: int, lost: int) -> None:
    judge(piece)
    judge(PORTAL[:spot] + piece + PORTAL[spot + lost :])


@pytest.mark.parametrize(
    "text",
    ["<a>" * 300000, "<a>" * 100000 + "</a>" * 100000, '<?xml version="1.0" encoding="utf-16"?><robot/>', "\ud800",
     '<?xml version="1.0" encoding="nothing"?><robot/>', "\x00", "<robot>&lt;&x;</robot>"],
)  # fmt: skip
def test_odd_documents_are_refused(text: str) -> None:
    judge(text)
