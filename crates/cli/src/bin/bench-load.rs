//! `bench-load`: see `cli::bench`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench::LoadArgs>(cli::bench::load)
}
