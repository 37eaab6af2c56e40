"""A whole fine-tuning with transformers' Trainer and peft, under alpaca-lora's flags. The peer of `finetune`.

Batches are padded on the left, as alpaca-lora's are. There a padding position predicts the first token of each padded
record, so the logged loss counts one more, badly guessed label for each of them and lies a little above `finetune`'s.

    python finetune.py --base_model DIR --data_path FILE --output_dir DIR [--batch_size 8 …]
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from alpaca import load_examples, load_model, load_tokenizer


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base_model", required=True)
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--micro_batch_size", type=int, default=4)
    parser.add_argument("--num_epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--cutoff_len", type=int, default=256)
    parser.add_argument("--val_set_size", type=int, choices=[0], default=0, help="validation is not compared")
    parser.add_argument("--lora_r", type=int, default=8)
    parser.add_argument("--lora_alpha", type=float, default=16)
    parser.add_argument("--lora_dropout", type=float, default=0.05)
    parser.add_argument("--lora_target_modules", default="[q_proj,v_proj]")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer = load_tokenizer(args.base_model)
    tokenizer.padding_side = "left"
    examples = load_examples(args.data_path, tokenizer, args.cutoff_len)
    targets = [name.strip() for name in args.lora_target_modules.strip("[]").split(",")]
    model = load_model(
        args.base_model, torch.float32, args.lora_r, args.lora_alpha, args.lora_dropout, targets
    )
    settings = TrainingArguments(
        output_dir=args.output_dir,
        per_device_train_batch_size=args.micro_batch_size,
        gradient_accumulation_steps=args.batch_size // args.micro_batch_size,
        num_train_epochs=args.num_epochs,
        learning_rate=args.learning_rate,
        warmup_steps=100,
        logging_steps=10,
        save_strategy="steps",
        save_steps=200,
        save_total_limit=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    collate = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True)
    trainer = Trainer(model=model, args=settings, train_dataset=examples, data_collator=collate)
    trainer.train()
    model.save_pretrained(args.output_dir)
    lines = [json.dumps(entry) for entry in trainer.state.log_history if "loss" in entry]
    Path(args.output_dir, "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
