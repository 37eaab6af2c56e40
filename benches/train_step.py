"""Times training steps of transformers and peft: forward, backward, clip, update. The peer of `bench-step`.

Same model, batches, dtype, threads and LoRA as there; the batch is padded on the right to a multiple of 8 (but not with
--group_by_length, where padding is to cost nothing), and the optimiser is the one that transformers' Trainer takes by default.

    python train_step.py --base_model DIR --data_path FILE --steps 10 [--json FILE]
"""

import argparse
import json
import resource
import time

import torch
from transformers import DataCollatorForSeq2Seq

from alpaca import DTYPES, load_examples, load_model, load_tokenizer

WARM_UP = 2


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base_model", required=True)
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--cutoff_len", type=int, default=256)
    parser.add_argument("--lora_r", type=int, default=8)
    parser.add_argument("--lora_alpha", type=float, default=16)
    parser.add_argument("--lora_dropout", type=float, default=0.05)
    parser.add_argument("--lora_target_modules", nargs="+", default=["q_proj", "v_proj"])
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--seq_len", type=int, help="records of so many tokens, cut from those of the file in a row")
    parser.add_argument("--group_by_length", action="store_true", help="batches of nearly equal lengths, around the median")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quantize", choices=["nf4"], help="linear layers in 4 bits, by bitsandbytes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--json")
    return parser.parse_args()


def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokenizer = load_tokenizer(args.base_model)
    tokenizer.padding_side = "right"
    examples = load_examples(args.data_path, tokenizer, args.cutoff_len)
    if args.seq_len:
        ids = [token for example in examples for token in example["input_ids"]]
        pieces = [ids[at : at + args.seq_len] for at in range(0, len(ids) - args.seq_len + 1, args.seq_len)]
        examples = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": list(ids)} for ids in pieces]
    if args.group_by_length:
        examples.sort(key=lambda example: len(example["input_ids"]))
        first = max(0, len(examples) - (WARM_UP + args.steps) * args.batch_size) // 2
        examples = examples[first:] + examples[:first]
    model = load_model(
        args.base_model,
        DTYPES[args.dtype],
        args.lora_r,
        args.lora_alpha,
        args.lora_dropout,
        args.lora_target_modules,
        args.device,
        args.quantize,
    )
    if args.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, weight_decay=0.0, fused=True)
    multiple = None if args.group_by_length else 8
    collate = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=multiple, return_tensors="pt", padding=True)
    cuda = args.device.startswith("cuda")

    result = {"seconds_per_step": [], "tokens_per_step": [], "loss": []}
    for step in range(WARM_UP + args.steps):
        rows = [examples[(step * args.batch_size + i) % len(examples)] for i in range(args.batch_size)]
        batch = collate([dict(row) for row in rows])
        start = time.perf_counter()
        batch = {name: tensor.to(args.device) for name, tensor in batch.items()}
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        value = loss.item()
        if cuda:
            torch.cuda.synchronize()
        elapsed_s = time.perf_counter() - start
        if step >= WARM_UP:
            result["seconds_per_step"].append(elapsed_s)
            result["tokens_per_step"].append(int(batch["attention_mask"].sum()))
            result["loss"].append(value)
    result["threads"] = torch.get_num_threads()
    result["peak_device_mib"] = torch.cuda.max_memory_allocated() >> 20 if cuda else None
    result["peak_host_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    text = json.dumps(result)
    if args.json:
        with open(args.json, "w") as file:
            file.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
