//! `finetune`: see `cli::finetune`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::finetune::FinetuneArgs>(cli::finetune::run)
}
