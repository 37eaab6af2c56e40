//! `cargo xtask bench`: what the figures of the README come from.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::peers::BenchArgs>(|args| benches::peers::run(&args))
}
