//! Says which build of PyTorch serves this machine.

// ANCHOR: readme
use get_libtorch::{Gpus, Wanted, active};

fn which_build() -> String {
    let gpus = Gpus::of_this_machine(); // asks nvidia-smi
    let choice = Wanted::ForThisMachine.choice(gpus.as_ref());
    let there = active(&get_libtorch::Env::of_process()); // a PyTorch 2.11.0 in an active environment
    let there = there.map(|(torch, version)| format!("; {version} is in {}", torch.display()));
    format!("{}: {}{}", choice.build, choice.reason, there.unwrap_or_default())
}
// ANCHOR_END: readme

#[expect(clippy::print_stdout, reason = "an example prints its result")]
fn main() {
    println!("{}", which_build());
}
