"""The small policy as a trainable network: the engine's own vision and decoder modules, and a loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..construct import construct
from ..engine.model.llama import Llama
from ..engine.model.shapes import LlamaConfig, TowerConfig
from ..engine.model.vision import Projector, VisionBackbone
from ..sim.environment import SIDES
from ..sim.expert import PUSHED
from ..sim.tasks import COLOURS, SKILLS, Goal
from .demonstrations import OBJECTS, PLACED, TOOL
from .recipe import Recipe
from .tokenizer import ACTION_BINS, PADDING, TEXT_VOCABULARY, VOCABULARY, build_tokenizer

ACTION_DIM = 7
MIDDLE, REACH = (0.48, 0.0, 0.1), 0.2  # metres: the workspace, to bring places to about -1..1
BRANCHES = len(SKILLS)  # instructions per image in training: one of each skill
LAST_ACTION_ID = VOCABULARY - PADDING - 1  # the id of bin 0; bins count down from it, as in OpenVLA


@dataclass(frozen=True)
class Batch:
    """What one training step sees of B images.

    pixels [B, 3, S, S] in 0..1; colours [B, 4]: whose cube each skill is about; actions [B, 4, 7]: the expert's, by
    skill; points [B, OBJECTS, 2]: places in the image (0..1), NaN where out of sight; places [B, PLACED, 3]: in the
    world [m]; opening [B] of the gripper. seen: image and object of each point in sight; placed: of those with a place.
    They are found before the batch goes to its device, which then need not be waited for.
    """

    pixels: Tensor
    colours: Tensor
    actions: Tensor
    points: Tensor
    places: Tensor
    opening: Tensor
    seen: tuple[Tensor, Tensor]
    placed: tuple[Tensor, Tensor]


class SmallPolicy(nn.Module):
    """Vision tower, projector and Llama decoder, with an auxiliary head that is dropped at export."""

    scale: Tensor  # [7]: action at the end of the bins' range
    weights: Tensor  # [7]: of the dimensions, in the loss
    cells: Tensor  # [N, 2]: row and column of each visual token
    middle: Tensor  # [3]: of the workspace

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        tower = TowerConfig(
            recipe.image_size, recipe.width, recipe.tower_depth, recipe.heads, 4 * recipe.width,
            stem_width=recipe.stem_width,
        )  # fmt: skip
        self.side = tower.grid
        self.vision_backbone = VisionBackbone(tower)
        self.projector = Projector(recipe.width, recipe.width, fused=False)
        self.language_model = Llama(
            LlamaConfig(
                recipe.width, recipe.mlp_width, recipe.decoder_depth, recipe.heads, recipe.heads, VOCABULARY
            )
        )  # fmt: skip
        # per visual token: which objects are here, where in it, where in the world, the gripper's opening
        self.auxiliary = nn.ModuleDict({"token": nn.Linear(recipe.width, 3 * OBJECTS + 3 * PLACED + 1)})
        # per instruction, half-way through the decoder: from tool to cube, from there to the plate or the side
        self.auxiliary["way"] = nn.Linear(recipe.width, 5)
        self._initialise()
        tokenizer = build_tokenizer()
        for skill in SKILLS:  # [4, M]: text ids of each colour's instruction
            told = [tokenizer.encode(Goal(skill, colour).instruction).ids[1:] for colour in COLOURS]
            self.register_buffer(f"prompts_{skill}", torch.tensor(told), persistent=False)
        limits = [recipe.max_translation] * 3 + [recipe.max_rotation] * 3 + [1.0]
        self.register_buffer("scale", torch.tensor(limits), persistent=False)
        self.register_buffer("weights", torch.tensor(recipe.dimension_weights), persistent=False)
        cells = torch.cartesian_prod(torch.arange(self.side), torch.arange(self.side)).float()
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("middle", torch.tensor(MIDDLE), persistent=False)

    def prompts(self, skill: str) -> Tensor:
        """Text ids [4, M] of the skill's instruction for each colour."""
        return self.get_buffer(f"prompts_{skill}")

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(
                    module.weight, std=0.02 if isinstance(module, nn.Embedding) else module.weight.shape[1] ** -0.5
                )
            if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():  # quiet residual branches
            if name.endswith(("attn.proj.weight", "mlp.fc2.weight", "o_proj.weight", "down_proj.weight")):
                parameter.data *= 0.3
        nn.init.normal_(self.language_model.lm_head.weight, std=0.02)
        # words as large as visual tokens: smaller ones drown in what the last row gathers from the image, and of two
        # instructions that differ in one word only, such as the side of a push, the policy then learns the mean
        nn.init.normal_(self.language_model.model.embed_tokens.weight.data[:TEXT_VOCABULARY], std=1.0)
        places = self.vision_backbone.featurizer.pos_embed
        places.data = 0.5 * waves(self.side, places.shape[-1])[None]

    def bins(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Bin numbers and exact (fractional) bin positions [..., 7] of actions in SI units."""
        position = (actions / self.scale).clamp(-1, 1) * 127.5 + 127.0
        return position.round().clamp(0, 254).long(), position.clamp(0, 254)

    def loss(self, batch: Batch, keep: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch, and its parts, on the device; `keep`: train on that many of the visual tokens, None for all.

        The four instructions of an image share its visual prefix: [BOS, visual | text, actions | text, actions | ...],
        each branch blind to the others. Left-out tokens are those far from every object, drawn anew at each step: the
        decoder's cost falls with them, and what they show is table and sky.
        """
        where = None if keep is None else self._near_objects(batch.points, keep)
        visual = self.visual_tokens(batch.pixels, where)
        bins, position = self.bins(batch.actions)  # [B, 4, 7]
        text = [self.prompts(skill)[batch.colours[:, number]] for number, skill in enumerate(SKILLS)]
        logits, middle = self.branches(visual, where, text, bins)  # [B, 4, 7, V], [B, 4, D]
        logits = logits.float()
        bin_of_id = LAST_ACTION_ID - torch.arange(VOCABULARY, device=logits.device)
        distance = (bin_of_id - position[..., None]) / self.recipe.bin_sigma
        no_action = (bin_of_id < 0) | (bin_of_id >= ACTION_BINS)
        target = torch.softmax((-0.5 * distance**2).masked_fill(no_action, -math.inf), -1)
        cross = -(target * logits.log_softmax(-1)).sum(-1)  # [B, 4, 7]
        entropy = -(target * target.clamp_min(1e-12).log()).sum(-1)
        per_dimension = (cross - entropy).mean((0, 1))
        action_loss = (per_dimension * self.weights).sum() / self.weights.sum()
        token_loss, way_loss = self._token_loss(visual, where, batch), self._way_loss(middle, batch)
        with torch.no_grad():
            off = (LAST_ACTION_ID - logits.argmax(-1) - position).abs()
            right = (off < 1.5).all(-1).float().mean(0)  # [4]
        parts = {
            "action": action_loss.detach(), "token": token_loss.detach(), "way": way_loss.detach(),
            **{f"right_{skill}": right[number] for number, skill in enumerate(SKILLS)},
        }  # fmt: skip
        return action_loss + self.recipe.auxiliary_weight * (token_loss + way_loss), parts

    def visual_tokens(self, images: Tensor, where: Tensor | None = None) -> Tensor:
        """Visual tokens [B, N, D] of images [B, 3, S, S] in 0..1, or those at `where` [B, n]."""
        tower = self.vision_backbone.featurizer
        x = tower.patch_embed((images - 0.5) / 0.5) + tower.pos_embed
        if where is not None:
            x = x.gather(1, where[..., None].expand(-1, -1, x.shape[-1]))
        for block in tower.blocks:
            x = block(x)
        return self.projector(x)

    def _near_objects(self, points: Tensor, keep: int) -> Tensor:
        """Tokens [B, keep], ascending: those of objects and their neighbours, the rest drawn at random."""
        side = self.side
        lottery = torch.rand(len(points), side * side, device=points.device)
        own = (points.nan_to_num(nan=-9.0) * side).floor().flip(-1)  # [B, OBJECTS, 2]: row, column
        far = (own[:, :, None] - self.cells).abs().amax(-1).amin(1)  # [B, N]: tokens to the nearest object
        return (lottery + (2 - far).clamp_min(0)).topk(keep, dim=1).indices.sort(1).values

    def branches(
        self, visual: Tensor, where: Tensor | None, text: Sequence[Tensor], bins: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, K, 7, V] of K instructions' action tokens, given text ids K x [B, M] and bins [B, K, 7].

        visual [B, n, D]: visual tokens; where [B, n]: which ones they are, None for all. Also returns what the last
        text rows hold half-way through the decoder [B, K, D].
        """
        model, device = self.language_model, visual.device
        batch, count, _ = visual.shape
        ids = torch.cat([torch.cat((words, LAST_ACTION_ID - bins[:, k, :-1]), 1) for k, words in enumerate(text)], 1)
        lengths = tuple(words.shape[1] + ACTION_DIM - 1 for words in text)
        start = model.embed(torch.ones(batch, 1, dtype=torch.long, device=device))
        rows = torch.cat((start, visual, model.embed(ids)), 1)
        step, mask, rows_of_actions = _branches(1 + count, lengths, device)
        seen = torch.arange(count, device=device).expand(batch, -1) if where is None else where
        after = (1 + self.side**2 + step).expand(batch, -1)
        positions = torch.cat((torch.zeros_like(after[:, :1]), 1 + seen, after), 1)  # [B, S]

        def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        middle = []

        def look(layer: int, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            if layer == self.recipe.decoder_depth // 2:
                middle.append(x[:, rows_of_actions[:, 0]])
            return x, cos, sin

        hidden = model(rows, positions, attend, look)
        return model.lm_head(hidden[:, rows_of_actions]), F.rms_norm(middle[0], middle[0].shape[-1:])

    def _token_loss(self, visual: Tensor, where: Tensor | None, batch: Batch) -> Tensor:
        """Visual tokens tell what they show: which token holds each object, where in it, and where in the world."""
        out = self.auxiliary["token"](visual).float()  # [B, n, 3 * OBJECTS + 3 * PLACED + 1]
        which, offsets, places, opening = out.split((OBJECTS, 2 * OBJECTS, 3 * PLACED, 1), -1)
        cell = (batch.points.nan_to_num() * self.side).clamp(0, self.side - 1e-4)
        token = cell.floor().long()[..., 1] * self.side + cell.floor().long()[..., 0]
        if where is not None:
            token = torch.searchsorted(where, token.contiguous()).clamp_max(where.shape[1] - 1)
        losses = [F.cross_entropy(which.transpose(1, 2)[batch.seen], token[batch.seen])]
        offset = _at(offsets, token, 2)[batch.seen]
        losses.append(2 * F.smooth_l1_loss(offset, (cell - cell.floor())[batch.seen] - 0.5, beta=0.05))
        placed, true = batch.placed, (batch.places - self.middle) / REACH
        losses.append(2 * F.smooth_l1_loss(_at(places, token[:, :PLACED], 3)[placed], true[placed], beta=0.05))
        losses.append(F.smooth_l1_loss(_at(opening, token[:, TOOL : TOOL + 1], 1)[:, 0, 0], batch.opening, beta=0.05))
        return torch.stack(losses).sum()

    def _way_loss(self, middle: Tensor, batch: Batch) -> Tensor:
        """The last text row knows the way [5] from tool to cube, and from there to the plate or to the side."""
        cube = batch.places.gather(1, batch.colours[..., None].expand(-1, -1, 3))  # [B, 4, 3]
        tool, plate = batch.places[:, TOOL : TOOL + 1], batch.places[:, TOOL - 1 : TOOL]
        on = (plate - cube)[..., :2]
        for number, skill in enumerate(SKILLS):
            if side := SIDES.get(skill.partition("_")[2]):
                on[:, number] = torch.stack((torch.zeros_like(on[:, 0, 0]), side * PUSHED - cube[:, number, 1]), -1)
        true = torch.cat((cube - tool, on), -1) / REACH
        return 2 * F.smooth_l1_loss(self.auxiliary["way"](middle).float(), true, beta=0.05)

    def save(self, path: Path) -> None:
        """Write recipe and weights to one file that `restore` reads."""
        torch.save({"recipe": vars(self.recipe), "weights": self.state_dict()}, path)

    @classmethod
    def restore(cls, path: Path) -> SmallPolicy:
        """Read a file written by `save`; tensors only, nothing is unpickled."""
        stored = torch.load(path, map_location="cpu", weights_only=True)
        policy = cls(construct(Recipe, stored["recipe"], path.name))
        policy.load_state_dict(stored["weights"])
        return policy.eval()


@functools.lru_cache(maxsize=4)
def _branches(prefix: int, lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For branches of these lengths behind a shared prefix: number of each row in its branch, mask [S, S], rows [K, 7].

    The rows are those of the actions: each predicts the next.
    """
    step = torch.cat([torch.arange(length) for length in lengths])
    branch = torch.repeat_interleave(torch.arange(-1, len(lengths)), torch.tensor([prefix, *lengths]))
    order = torch.arange(len(branch))
    mask = ((branch[:, None] == branch) | (branch == -1)) & (order[:, None] >= order)
    ends = prefix + torch.tensor(lengths).cumsum(0)
    actions = ends[:, None] + torch.arange(-ACTION_DIM, 0)
    return step.to(device), mask.to(device), actions.to(device)


def waves(side: int, width: int) -> Tensor:
    """Position embeddings [side * side, width] to begin with: waves along rows and columns, from one to many periods.

    Where a token is can then be read off it by a linear map, which random embeddings would have to learn one by one.
    """
    place = (torch.arange(side) + 0.5) / side
    angle = math.pi * place[:, None] * (side / 2) ** torch.linspace(0, 1, width // 4)  # [side, width / 4]
    wave = torch.cat((angle.sin(), angle.cos()), 1)  # [side, width / 2]
    rows, columns = wave.repeat_interleave(side, 0), wave.repeat(side, 1)
    return math.sqrt(2) * torch.cat((rows, columns), 1)


def _at(values: Tensor, token: Tensor, width: int) -> Tensor:
    """Of values [B, n, K * width], the k-th part at the k-th of `token` [B, K]: [B, K, width]."""
    parts = values.unflatten(-1, (-1, width)).transpose(1, 2)  # [B, K, n, width]
    return parts.gather(2, token[..., None, None].expand(-1, -1, 1, width))[:, :, 0]
