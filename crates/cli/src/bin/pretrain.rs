//! `pretrain`: see `cli::pretrain`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::pretrain::PretrainArgs>(cli::pretrain::run)
}
