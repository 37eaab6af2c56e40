//! `runs`: see `cli::runs`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::runs::RunsArgs>(cli::runs::run)
}
