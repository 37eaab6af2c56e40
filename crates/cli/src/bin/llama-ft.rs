//! `llama-ft`: every program as a subcommand; see `cli::programs`.

fn main() -> std::process::ExitCode {
    cli::programs::main()
}
