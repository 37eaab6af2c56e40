//! An adapter from its training to the browser: `finetune`, then `generate` with the base and the adapter side by side.

mod common;
#[path = "../../serve/tests/webdriver/mod.rs"]
mod webdriver;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Scene, run, workspace};
use webdriver::{Browser, Screen};

/// The server; it ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_base_and_its_adapter_are_compared_in_the_browser() {
    let Some(browser) = Browser::open("adapter", Screen::Desktop) else { return };
    let scene = Scene::new();
    let tiny = workspace().join("datasets/tiny-llama");
    let base = if tiny.join("config.json").exists() { tiny } else { scene.path("model") };
    let base = base.to_str().unwrap();
    run(&mut scene.finetune("adapter", &["--base_model", base, "--learning_rate", "0.003"])).ok();

    let compare = format!("adapted={base}+adapter");
    let mut child = Command::new(env!("CARGO_BIN_EXE_generate"))
        .args(["--base_model", base, "--compare", &compare, "--server_port", "0", "--temperature", "0"])
        .args(["--prompt_template", "alpaca_short", "--device", "cpu", "--threads", "1", "--stream_output"])
        .current_dir(scene.path(""))
        .env("OMP_NUM_THREADS", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let _serving = Serving(child);
    let url = lines
        .find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.split(' ').next()?.to_owned()));
    browser.go(&url.unwrap());
    browser.wait("document.getElementById('source').options.length === 2");
    browser.fill("#instruction", "Repeat sun.");
    browser.fill("#input", "moon");
    browser.click("#submit");
    browser.wait("document.querySelector('#one-view .figures').textContent.includes('first after')");
    assert!(browser.text("#one-view .text").len() > 4);
    browser.screenshot("model-answer");

    assert!(browser.text("#model").contains("float32") || browser.text("#model").contains("bfloat16"));
    browser.click("#view-compare");
    browser.click("#submit");
    browser.wait("document.getElementById('verdict').textContent.startsWith('The texts first differ')");
    browser.wait(
        "document.querySelectorAll('#cards mark').length === 2 && document.getElementById('stop').disabled",
    );
    assert!(browser.text("#cards").contains("adapted"));
    browser.screenshot("model-compare");
    browser.snapshot("model-compare");
}
