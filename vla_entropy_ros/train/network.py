"""The small policy as a trainable network: the engine's own vision and decoder modules, and a loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine.llama import Llama, LlamaConfig
from ..engine.vision import Projector, TowerConfig, VisionBackbone
from ..sim import COLOURS, TASKS
from .demonstrations import OBJECTS
from .settings import Recipe
from .tokenizer import ACTION_BINS, PADDING, VOCABULARY, build_tokenizer

ACTION_DIM = 7
LAST_ACTION_ID = VOCABULARY - PADDING - 1  # the id of bin 0; bins count down from it, as in OpenVLA


class SmallPolicy(nn.Module):
    """Vision tower, projector and Llama decoder, with an auxiliary head that is dropped at export."""

    prompts: Tensor  # [4, M]: text ids of each colour's instruction
    scale: Tensor  # [7]: action at the end of the bins' range
    weights: Tensor  # [7]: of the dimensions, in the loss

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        tower = TowerConfig(
            recipe.image_size, recipe.width, recipe.tower_depth, recipe.heads, 4 * recipe.width,
            stem_width=recipe.stem_width,
        )  # fmt: skip
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
        prompts = [tokenizer.encode(TASKS[f"pick_{colour}"].instruction).ids[1:] for colour in COLOURS]
        if len({len(prompt) for prompt in prompts}) != 1:
            raise ValueError("instructions trained together must have the same number of words")
        self.register_buffer("prompts", torch.tensor(prompts), persistent=False)  # [4, M]
        limits = [recipe.max_translation] * 3 + [recipe.max_rotation] * 3 + [1.0]
        self.register_buffer("scale", torch.tensor(limits), persistent=False)
        self.register_buffer("weights", torch.tensor(recipe.dimension_weights), persistent=False)

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

    def visual_tokens(self, images: Tensor) -> Tensor:
        """Visual tokens [B, N, D] of images [B, 3, S, S] in 0..1."""
        return self.projector(self.vision_backbone((images - 0.5) / 0.5))

    def bins(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Bin numbers and exact (fractional) bin positions [..., 7] of actions in SI units."""
        position = (actions / self.scale).clamp(-1, 1) * 127.5 + 127.0
        return position.round().clamp(0, 254).long(), position.clamp(0, 254)

    def loss(self, images: Tensor, actions: Tensor, points: Tensor, tool: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss and its parts for images [B, 3, S, S], actions [B, 4, 7], points [B, 5, 2], tool [B, 2].

        All instructions of an image share its visual prefix: [BOS, visual | text, actions | text, actions | ...], each
        branch blind to the others. Every image has the same number K of cubes in sight.
        """
        visual = self.visual_tokens(images)
        present = ~actions.isnan().any(-1)  # [B, 4]
        colours = present.nonzero()[:, 1].view(len(images), -1)  # [B, K]
        bins, position = self.bins(actions[present].view(*colours.shape, ACTION_DIM))  # [B, K, 7]
        logits = self._branches(visual, self.prompts[colours], bins)  # [B, K, 7, 256], class = bin
        grid = torch.arange(ACTION_BINS, device=logits.device)
        target = torch.softmax(-0.5 * ((grid - position[..., None]) / self.recipe.bin_sigma) ** 2, -1)
        cross = -(target * logits.log_softmax(-1)).sum(-1)  # [B, K, 7]
        entropy = -(target * target.clamp_min(1e-12).log()).sum(-1)
        per_dimension = (cross - entropy).mean((0, 1))
        action_loss = (per_dimension * self.weights).sum() / self.weights.sum()
        place_loss, state_loss = self._auxiliary_loss(visual, points, tool)
        with torch.no_grad():
            error = (logits.argmax(-1) - position).abs().mean((0, 1)) / 127.5 * self.scale
        parts = {
            "action": action_loss.item(), "place": place_loss.item(), "state": state_loss.item(),
            "error_mm": 1e3 * error[:3].mean().item(), "gripper": error[6].item(),
        }  # fmt: skip
        return action_loss + self.recipe.auxiliary_weight * (place_loss + state_loss), parts

    def _branches(self, visual: Tensor, text: Tensor, bins: Tensor) -> Tensor:
        """Logits [B, K, 7, 256] of K instructions' action tokens, given text ids [B, K, M] and bins [B, K, 7]."""
        batch, count, _ = visual.shape
        _, branches, words = text.shape
        length = words + ACTION_DIM - 1
        model = self.language_model
        ids = torch.cat((text, LAST_ACTION_ID - bins[..., :-1]), -1).flatten(1)  # [B, K * length]
        start = model.embed(torch.ones(batch, 1, dtype=torch.long, device=visual.device))
        rows = torch.cat((start, visual, model.embed(ids)), 1)
        prefix = count + 1
        step = torch.arange(length, device=visual.device).repeat(branches)
        positions = torch.cat((torch.arange(prefix, device=visual.device), prefix + step))
        branch = torch.arange(branches, device=visual.device).repeat_interleave(length)
        branch = torch.cat((torch.full((prefix,), -1, device=visual.device), branch))
        same = (branch[:, None] == branch[None]) | (branch[None] == -1)
        mask = same & (positions[:, None] >= positions[None])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        hidden = model(rows, positions, attend)[:, prefix:].unflatten(1, (branches, length))
        ids_by_bin = LAST_ACTION_ID - torch.arange(ACTION_BINS, device=visual.device)
        return hidden[:, :, words - 1 :] @ model.lm_head.weight[ids_by_bin].T

    def _auxiliary_loss(self, visual: Tensor, points: Tensor, tool: Tensor) -> tuple[Tensor, Tensor]:
        """Where each object is (which token, where in it), and the tool's height and opening."""
        side = self.recipe.image_size // 14
        out = self.auxiliary(visual)  # [B, N, 3 * 5 + 2]
        seen = ~points.isnan().any(-1)  # [B, 5]
        cell = (points.nan_to_num() * side).clamp(0, side - 1e-4)
        token = cell.floor().long()[..., 1] * side + cell.floor().long()[..., 0]  # [B, 5]
        which = F.cross_entropy(out[..., :OBJECTS].transpose(1, 2)[seen], token[seen])
        offsets = out[..., OBJECTS : 3 * OBJECTS].unflatten(-1, (OBJECTS, 2)).transpose(1, 2)  # [B, 5, N, 2]
        at = offsets.gather(2, token[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        where = F.smooth_l1_loss(at[seen], (cell - cell.floor())[seen] - 0.5, beta=0.05)
        state = out[..., -2:].gather(1, token[:, -1:, None].expand(-1, 1, 2))[:, 0]
        target = torch.stack((tool[:, 0] * 10, tool[:, 1]), -1)
        return which + 2 * where, F.smooth_l1_loss(state, target, beta=0.05)

    @torch.inference_mode()
    def act(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Greedy actions [B, 7] (m, rad, opening) for images [B, S, S, 3]; recomputes everything for every token."""
        device = self.scale.device
        pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
        visual = self.visual_tokens(pixels)
        order = [TASKS[f"pick_{colour}"].instruction for colour in COLOURS]
        text = self.prompts[[order.index(instruction) for instruction in instructions]][:, None]  # [B, 1, M]
        bins = torch.zeros(len(images), 1, ACTION_DIM, dtype=torch.long, device=device)
        for dimension in range(ACTION_DIM):
            logits = self._branches(visual, text, bins)[:, 0, dimension]
            bins[:, 0, dimension] = logits.argmax(-1).clamp_max(254)
        value = (bins[:, 0].double() - 127.0) / 127.5
        return (value * self.scale).cpu().numpy()

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
