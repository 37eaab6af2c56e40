"""`python -m llama_finetuning finetune …`."""

import sys

from llama_finetuning import main

sys.argv[0] = "llama-ft"
main()
