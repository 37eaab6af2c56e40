#!/bin/sh
# Fine-tunes the embedded model on this machine, about a minute on two cores, and shows its answers before and after.
set -eu
cd "$(dirname "$0")"
out=${1:-demo-adapter}
ft=bin/llama-ft
ask() { "$ft" generate -q --base_model datasets/tiny-llama "$@" --temperature 0 --max_new_tokens 32; }
"$ft" finetune --config datasets/demo.toml --output_dir "$out" --overwrite_output_dir
for question in "What kind of animal is Abel?" "Which word is the contrary of closed?"; do
    printf '\n%s\n' "$question"
    printf '  before: %s\n' "$(ask --instruction "$question")"
    printf '  after:  %s\n' "$(ask --lora_weights "$out" --instruction "$question")"
done
printf '\nthe adapter: %s\n  ask it more:  %s generate --base_model datasets/tiny-llama --lora_weights %s\n' "$out" "$ft" "$out"
printf '  your own:     %s finetune --base_model DIR --data_path FILE.json --output_dir DIR\n' "$ft"
