"""The small policy as a trainable network: the engine's own vision and decoder modules, and a loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine.llama import Llama, LlamaConfig
from ..engine.vision import Projector, TowerConfig, VisionBackbone
from ..sim.tasks import COLOURS, SKILLS, Goal
from .demonstrations import OBJECTS, TOOL
from .settings import Recipe
from .tokenizer import ACTION_BINS, PADDING, VOCABULARY, build_tokenizer

ACTION_DIM = 7
BRANCHES = len(SKILLS)  # instructions per image in training: one of each skill
LAST_ACTION_ID = VOCABULARY - PADDING - 1  # the id of bin 0; bins count down from it, as in OpenVLA


@dataclass(frozen=True)
class Batch:
    """What one training step sees of B images.

    pixels [B, 3, S, S] in 0..1; colours [B, 4]: whose cube each skill is about; actions [B, 4, 7]: the expert's, by
    skill; points [B, OBJECTS, 2]: places in the image (0..1), NaN where out of sight; tool [B, 2]: height [m], opening.
    """

    pixels: Tensor
    colours: Tensor
    actions: Tensor
    points: Tensor
    tool: Tensor


class SmallPolicy(nn.Module):
    """Vision tower, projector and Llama decoder, with an auxiliary head that is dropped at export."""

    scale: Tensor  # [7]: action at the end of the bins' range
    weights: Tensor  # [7]: of the dimensions, in the loss

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
        self.auxiliary = nn.Linear(recipe.width, 3 * OBJECTS + 2)  # per token: objects here, their offsets, tool state
        self._initialise()
        tokenizer = build_tokenizer()
        for skill in SKILLS:  # [4, M]: text ids of each colour's instruction
            told = [tokenizer.encode(Goal(skill, colour).instruction).ids[1:] for colour in COLOURS]
            self.register_buffer(f"prompts_{skill}", torch.tensor(told), persistent=False)
        limits = [recipe.max_translation] * 3 + [recipe.max_rotation] * 3 + [1.0]
        self.register_buffer("scale", torch.tensor(limits), persistent=False)
        self.register_buffer("weights", torch.tensor(recipe.dimension_weights), persistent=False)

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
        nn.init.normal_(self.vision_backbone.featurizer.pos_embed, std=0.3)

    def bins(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Bin numbers and exact (fractional) bin positions [..., 7] of actions in SI units."""
        position = (actions / self.scale).clamp(-1, 1) * 127.5 + 127.0
        return position.round().clamp(0, 254).long(), position.clamp(0, 254)

    def loss(self, batch: Batch, keep: int | None = None) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and its parts; `keep`: train on that many of the visual tokens, None for all.

        The four instructions of an image share its visual prefix: [BOS, visual | text, actions | text, actions | ...],
        each branch blind to the others. Left-out tokens are those far from every object, drawn anew at each step: the
        decoder's cost falls with them, and what they show is table and sky.
        """
        where = None if keep is None else self._near_objects(batch.points, keep)
        visual = self.visual_tokens(batch.pixels, where)
        bins, position = self.bins(batch.actions)  # [B, 4, 7]
        text = [self.prompts(skill)[batch.colours[:, number]] for number, skill in enumerate(SKILLS)]
        logits = self.branches(visual, where, text, bins).float()  # [B, 4, 7, V]
        bin_of_id = LAST_ACTION_ID - torch.arange(VOCABULARY, device=logits.device)
        distance = (bin_of_id - position[..., None]) / self.recipe.bin_sigma
        no_action = (bin_of_id < 0) | (bin_of_id >= ACTION_BINS)
        target = torch.softmax((-0.5 * distance**2).masked_fill(no_action, -math.inf), -1)
        cross = -(target * logits.log_softmax(-1)).sum(-1)  # [B, 4, 7]
        entropy = -(target * target.clamp_min(1e-12).log()).sum(-1)
        per_dimension = (cross - entropy).mean((0, 1))
        action_loss = (per_dimension * self.weights).sum() / self.weights.sum()
        place_loss, state_loss = self._auxiliary_loss(visual, where, batch.points, batch.tool)
        with torch.no_grad():
            off = (LAST_ACTION_ID - logits.argmax(-1) - position).abs()
            right = (off < 1.5).all(-1).float().mean(0)  # [4]
        parts = {
            "action": action_loss.item(), "place": place_loss.item(), "state": state_loss.item(),
            **{f"right_{skill}": right[number].item() for number, skill in enumerate(SKILLS)},
        }  # fmt: skip
        return action_loss + self.recipe.auxiliary_weight * (place_loss + state_loss), parts

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
        """Tokens [B, keep], ascending: all within one of an object's, the rest drawn at random."""
        side = self.side
        lottery = torch.rand(len(points), side * side, device=points.device)
        cells = torch.cartesian_prod(torch.arange(side), torch.arange(side)).to(points)  # [N, 2]: row, column
        own = (points.nan_to_num(nan=-9.0) * side).floor().flip(-1)  # [B, OBJECTS, 2]: row, column
        near = ((own[:, :, None] - cells).abs().amax(-1) <= 1).any(1)  # [B, N]
        return (lottery + near).topk(keep, dim=1).indices.sort(1).values

    def branches(self, visual: Tensor, where: Tensor | None, text: Sequence[Tensor], bins: Tensor) -> Tensor:
        """Logits [B, K, 7, V] of K instructions' action tokens, given text ids K x [B, M] and bins [B, K, 7].

        visual [B, n, D]: visual tokens; where [B, n]: which ones they are, None for all.
        """
        model, device = self.language_model, visual.device
        batch, count, _ = visual.shape
        ids = torch.cat([torch.cat((words, LAST_ACTION_ID - bins[:, k, :-1]), 1) for k, words in enumerate(text)], 1)
        lengths = [words.shape[1] + ACTION_DIM - 1 for words in text]
        start = model.embed(torch.ones(batch, 1, dtype=torch.long, device=device))
        rows = torch.cat((start, visual, model.embed(ids)), 1)
        prefix = count + 1
        seen = torch.arange(count, device=device).expand(batch, -1) if where is None else where
        step = torch.cat([torch.arange(length, device=device) for length in lengths])
        after = (1 + self.side**2 + step).expand(batch, -1)
        positions = torch.cat((torch.zeros_like(after[:, :1]), 1 + seen, after), 1)  # [B, S]
        branch = torch.repeat_interleave(
            torch.arange(-1, len(lengths), device=device), torch.tensor([prefix, *lengths], device=device)
        )
        order = torch.arange(len(branch), device=device)
        mask = ((branch[:, None] == branch) | (branch == -1)) & (order[:, None] >= order)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        hidden = model(rows, positions, attend)
        ends = prefix + torch.tensor(lengths, device=device).cumsum(0)
        rows_of_actions = ends[:, None] + torch.arange(-ACTION_DIM, 0, device=device)  # [K, 7]: each predicts the next
        return model.lm_head(hidden[:, rows_of_actions])

    def _auxiliary_loss(
        self, visual: Tensor, where: Tensor | None, points: Tensor, tool: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where each object is (which token, where in it), and the tool's height and opening."""
        out = self.auxiliary(visual).float()  # [B, n, 3 * OBJECTS + 2]
        seen = ~points.isnan().any(-1)  # [B, OBJECTS]
        cell = (points.nan_to_num() * self.side).clamp(0, self.side - 1e-4)
        token = cell.floor().long()[..., 1] * self.side + cell.floor().long()[..., 0]
        if where is not None:
            token = torch.searchsorted(where, token.contiguous()).clamp_max(where.shape[1] - 1)
        which = F.cross_entropy(out[..., :OBJECTS].transpose(1, 2)[seen], token[seen])
        offsets = out[..., OBJECTS : 3 * OBJECTS].unflatten(-1, (OBJECTS, 2)).transpose(1, 2)  # [B, OBJECTS, n, 2]
        at = offsets.gather(2, token[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        offset_loss = F.smooth_l1_loss(at[seen], (cell - cell.floor())[seen] - 0.5, beta=0.05)
        state = out[..., -2:].gather(1, token[:, TOOL, None, None].expand(-1, 1, 2))[:, 0]
        target = torch.stack((tool[:, 0] * 10, tool[:, 1]), -1)
        return which + 2 * offset_loss, F.smooth_l1_loss(state, target, beta=0.05)

    def save(self, path: Path) -> None:
        """Write recipe and weights to one file that `restore` reads."""
        torch.save({"recipe": vars(self.recipe), "weights": self.state_dict()}, path)

    @classmethod
    def restore(cls, path: Path) -> SmallPolicy:
        """Read a file written by `save`; tensors only, nothing is unpickled."""
        stored = torch.load(path, map_location="cpu", weights_only=True)
        policy = cls(Recipe(**stored["recipe"]))
        policy.load_state_dict(stored["weights"])
        return policy.eval()
