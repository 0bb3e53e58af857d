"""Keys that mean something to those who read such files elsewhere, with values that may change what is computed."""

from __future__ import annotations

from typing import Any

from .trees import DEEP, Known, Raw

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ROPES: tuple[Any, ...] = (
    None, {}, {"rope_type": "default"}, {"rope_theta": 5e5}, {"rope_theta": 5e5, "rope_type": "default"}, LLAMA3,
        {**LLAMA3, "rope_theta": 1e4},
    {"rope_type": "linear", "factor": 2.0}, {"type": "linear", "factor": 2.0}, {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0},
    {"type": "default"}, {"rope_type": "default", "partial_rotary_factor": 0.5}, {"rope_type": "nonsense"},
        {"rope_theta": "x"}, [], "default", 2.0,
)  # fmt: skip

CONFIG: Known = {
    "text_config": {
        "hidden_act": ["silu", "gelu", "relu", "gelu_pytorch_tanh", "swish", "nonsense", 5, None],
        "attention_bias": [True, False, 1],
        "mlp_bias": [True, False],
        "partial_rotary_factor": [0.5, 1.0, 0.25],
        "rope_parameters": ROPES,
        "rope_scaling": ROPES,
        "rope_theta": [5e5, 1e4, 10000, 1.0, "10000.0", None, 1e30],
        "rotary_emb_base": [5e5],
        "sliding_window": [4, None],
        "layer_types": [["sliding_attention"] * 8, ["full_attention"] * 8],
        "attn_logit_softcapping": [30.0],
        "final_logit_softcapping": [30.0],
        "tie_word_embeddings": [True, False],
        "head_dim": [32, 16, 64, 0, None],
        "rms_norm_eps": [1e-5, 1e-3, 1.0, 0, 1, None],
        "num_key_value_heads": [1, 2, 4, 8, None],
        "num_attention_heads": [1, 2, 8, 16, 64],
        "num_hidden_layers": [1, 7, 9, 100_000, 2**40],
        "hidden_size": [64, 256, 2**20, 2**40],
        "intermediate_size": [1, 2**40],
        "vocab_size": [1, 320, 2**31, 2**63, 32000],
        "bos_token_id": [0, 1, 2, 3, True, 2**63, -1, None, [1], "1", 1.0],
        "eos_token_id": [1, 2, None, [2, 3], "x"],
        "model_type": ["mistral", "qwen2", "gemma", "LLAMA", "", None],
        "quantization_config": [{"load_in_4bit": True}, {"quant_method": "awq", "bits": 4}],
        "logit_scale": [0.5],
        "pretraining_tp": [2],
        "max_position_embeddings": [8, -1, "x"],
        "torch_dtype": ["bfloat16", "int8", 5],
    },
    "": {
        "model_type": ["llava", "", None, 5, "openvla_oft", "prismatic"],
        "timm_override_act_layers": [["quick_gelu"], [None, "quick_gelu"], [None]],
        "use_fused_vision_backbone": [True, False],
        "arch_specifier": ["linear", "no-align+linear", "gelu-mlp", "no-align+fused-gelu-mlp", 3],
        "image_resize_strategy": ["letterbox", "resize-crop", None, []],
        "image_sizes": [
            [224],
            224,
            [448, 448],
            [336, 336],
            [224, 336],
            [0, 0],
            [-224, -224],
            [2**31, 2**31],
            [224.0, 224.0],
            [True, True],
        ],
        "num_images_in_input": [1, 2, 8, 9, 10**6],
        "n_action_bins": [255, 256, 512, "256", 256.0],
        "pad_to_multiple_of": [0, 1, 32, 128, 2**40, -64, True, None],
        "llm_backbone_id": ["vicuna-v15-7b", "llama2-7b-pure", "mistral-7b", "phi-2-3b", 5],
        "vision_backbone_id": [
            "dinosiglip-vit-so-224px",
            "siglip-vit-so400m",
            "dinov2-vit-l",
            "clip-vit-l",
            "siglip-vit-so400m-384px",
            5,
            [],
        ],
        "norm_stats": [{}, [], None, {"x": {}}, {"a": {"action": {}}, "b": {"action": {}}}, 5],
        "text_config": [{}, None, [], "llama"],
        "vision_config": [
            {},
            None,
            {"width": 128},
            {"width": 128, "depth": 1, "heads": 2, "mlp_width": 512, "stem_width": 16},
        ],
        "quantization_config": [{"load_in_8bit": True}],
        "auto_map": [{"AutoConfig": "evil.Config", "AutoModelForVision2Seq": "evil.Model"}],
        "use_proprio": [True],
        "use_l1_regression": [True],
        "llm_max_length": [4, 2048],
        "action_dim": [14],
    },
}

RANGE = [0.1] * 7
STATISTICS: Known = {
    "": {
        "tabletop2": [{"action": {"q01": [-x for x in RANGE], "q99": RANGE}}, {}, 5],
        "action": [{"q01": [-x for x in RANGE], "q99": RANGE}],
        "num_transitions": [5],
    },
}
ACTION: Known = {
    "q01": {
        "": [
            [-1e308] * 7,
            [float("nan")] * 7,
            [-0.1] * 6,
            [[-0.1] * 7],
            ["-0.1"] * 7,
            "-0.1",
            [None] * 7,
            [True] * 7,
            [-1e30] * 7,
            [10**400] * 7,
        ]
    },
    "q99": {
        "": [
            [1e308] * 7,
            [float("inf")] * 7,
            [0.1] * 14,
            ["0.1"] * 7,
            [-0.5] * 7,
            [[0.1]] * 7,
            {},
            [1e-320] * 7,
            [True] * 7,
        ]
    },
    "mask": {
        "": [
            [True] * 6,
            ["false"] * 7,
            [0] * 7,
            [None] * 7,
            [2] * 7,
            [[]] * 7,
            "tttttt",
            [True] * 7,
            [False] * 7,
            [0.5] * 7,
            True,
        ]
    },
    "mean": {"": [[float("nan")] * 7]},
    "min": {"": [[-9.0] * 7]},
}

SLOW = "(a+)+$"  # regular expressions that take for ever on what nearly fits
SLOW_SPACE = "(\\s*\\w*\\s*)*!"
TOKENIZER: Known = {
    "": {
        "truncation": [{"max_length": n, "strategy": "LongestFirst", "stride": 0, "direction": side} for n in (1, 4, 0,
            2**40) for side in ("Right", "Left")],
        "padding": [
            {"strategy": {"Fixed": n}, "direction": side, "pad_to_multiple_of": None, "pad_id": 3, "pad_type_id": 0,
                "pad_token": "<pad>"}
            for n in (16, 64, 10**7) for side in ("Left", "Right")
        ],
        "added_tokens": [
            [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": norm,
                "special": special}]
            for i, text in ((8, "red"), (2, "</s>"), (1, "<s>"), (383, "cube"), (10**6, "the"), (40, "pick up"), (-1,
                "x"), (4, " "), (5, ""))
            for norm in (True, False) for special in (True, False)
        ],
        "post_processor": [
            None,
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
             "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>",
                 "ids": [2], "tokens": ["</s>"]}}},
            {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]},
            {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True,
                "add_prefix_space": False},
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        ],
        "normalizer": [
            None, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFKC"},
                {"type": "Nonsense"},
            {"type": "Replace", "pattern": {"String": "red"}, "content": "blue"}, {"type": "Replace",
                "pattern": {"Regex": SLOW}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": SLOW_SPACE}, "content": ""}, {"type": "Replace",
                "pattern": {"Regex": "("}, "content": ""},
            {"type": "Replace", "pattern": {"String": ""}, "content": "x"}, {"type": "Replace",
                "pattern": {"Regex": ""}, "content": "x" * 1000},
            {"type": "Prepend", "prepend": "x" * 10**6}, {"type": "Replace", "pattern": {"Regex": "."},
                "content": "the " * 10**5},
            {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "e"},
                "content": "ee"}] * 40},
            Raw('{"type":"Sequence","normalizers":[' * 3000 + '{"type":"NFC"}' + "]}" * 3000),
        ],
        "pre_tokenizer": [
            None, {"type": "Whitespace"}, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                "use_regex": True},
            {"type": "Split", "pattern": {"Regex": SLOW_SPACE}, "behavior": "Isolated", "invert": False},
                {"type": "CharDelimiterSplit", "delimiter": "e"},
            {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
                {"type": "Digits", "individual_digits": True},
        ],
        "decoder": [None, {"type": "ByteFallback"}, {"type": "Nonsense"}],
        "version": ["2.0", 1, None],
        "model": [
            {"type": "WordLevel", "vocab": {}, "unk_token": "<unk>"}, {"type": "BPE", "vocab": {"a": 0}, "merges": []},
                {"type": "Unigram", "vocab": [["<unk>", 0.0]], "unk_id": 0},
            {"type": "WordPiece", "vocab": {"<unk>": 0}, "unk_token": "<unk>", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100}, {"type": "Nonsense"}, None, Raw("[" * DEEP),
        ],
    },
    "model": {
        "unk_token": [None, "red", "nothing", 5],
        "byte_fallback": [True, False],
        "ignore_merges": [True],
        "fuse_unk": [True, False],
        "dropout": [0.5, 1.0, 0.0],
        "merges": [[], ["r e"], [["r", "e"]], ["x"], [["zz", "zz"]]],
    },
    "model/vocab": {
        "red": [0, 2, 7, 383, 384, 10**6, 2**31, 2**32 + 8, 2**63, -1, 8.0, "8", None, True, 200],
        "<s>": [0, 2, 4, 10**6], "the": [1, 2, 130, 320, 31999], "\u2581": [29871, 5],
    },
}  # fmt: skip
