//! The page of a run in a real browser: live, left behind, and of several runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../serve/tests/webdriver/mod.rs"]
mod webdriver;

use std::path::Path;

use run_page::{RunRecord, SamplePrompt, Sampler, State, Watch, page};
use trainer::{EvalRecord, Reporter, RunInfo, StepProgress, StepRecord, StopFlag};
use webdriver::{Browser, Screen, key};

/// What must never become markup.
const FOREIGN: &str = "</script><img src=x onerror=\"window.broken = 1\"><b>lora</b>";

struct Silent;

impl Reporter for Silent {}

fn step(step: u64) -> StepRecord {
    let loss = 1.2 + 2.4 * (-(step as f64) / 60.0).exp() + 0.12 * (step as f64 * 1.7).sin();
    StepRecord {
        step,
        epoch: step as f64 / 100.0,
        loss: Some(loss),
        learning_rate: 3e-4 * (1.0 - step as f64 / 300.0),
        grad_norm: Some(1.0),
        tokens: step * 900,
        tokens_per_s: 700.0 + 20.0 * (step as f64).cos(),
        elapsed_s: step as f64 * 1.3,
        memory_mib: 5120,
        skipped_steps: 0,
    }
}

/// Plays the first `steps` of 300 steps to a watch, with evaluations and answers.
fn play(watch: &Watch, steps: u64) {
    let mut silent = Silent;
    let prompt =
        |text: &str| SamplePrompt { prompt: text.to_owned(), reference: "Wolle, 羊毛, wool.".to_owned() };
    let prompts = vec![
        prompt("### Instruction:\nTell me about alpacas.\n\n### Response:\n"),
        prompt(FOREIGN),
        prompt("介绍一下羊驼。"),
    ];
    let answer =
        || Ok(vec!["Alpacas are kept for their wool.".to_owned(), FOREIGN.to_owned(), String::new()]);
    let mut reporter = watch.reporter(&mut silent, Some(Sampler { prompts, answer: &answer }));
    reporter.started(&RunInfo {
        step: 0,
        total_steps: 300,
        train_records: 100,
        validation_records: 10,
        trained_elements: 1,
    });
    for number in 1..=steps {
        let record = step(number);
        reporter.stepped(&StepProgress {
            step: number,
            total_steps: 300,
            loss: record.loss,
            learning_rate: record.learning_rate,
            tokens_per_s: record.tokens_per_s,
            memory_mib: record.memory_mib,
        });
        reporter.logged(&record);
        if number % 40 == 0 {
            let eval_loss = 1.4 + 2.2 * (-(number as f64) / 60.0).exp();
            let eval = EvalRecord {
                step: number,
                epoch: record.epoch,
                eval_loss,
                eval_s: 1.0,
                elapsed_s: record.elapsed_s,
            };
            reporter.evaluated(&eval, true);
        }
    }
    reporter.note(&format!("a note with {FOREIGN}"));
}

fn watch(dir: &Path) -> Watch {
    std::fs::create_dir_all(dir).unwrap();
    let settings = format!("base_model = '{FOREIGN}'\nlearning_rate = 0.0003\nlora_r = 8\n");
    Watch::new(dir, Some(format!("finetune --data_path '{FOREIGN}' --web")), &settings)
}

fn check(browser: &Browser) {
    assert_eq!(browser.eval("window.broken === undefined && !document.querySelector('img')"), true);
    assert_eq!(
        browser.eval("document.documentElement.scrollWidth <= innerWidth"),
        true,
        "wider than the screen"
    );
    let unnamed = "[...document.querySelectorAll('input, select, button')].filter(node => \
                   !node.labels?.length && !node.getAttribute('aria-label') && !node.textContent).length";
    assert_eq!(browser.eval(unnamed), 0, "every control has a name");
}

#[test]
fn the_live_page_follows_a_run_and_its_button_stops_it() {
    for (name, screen) in [("desktop", Screen::Desktop), ("phone", Screen::Phone)] {
        let Some(browser) = Browser::open(&format!("run-{name}"), screen) else { return };
        let dir = tempfile::tempdir().unwrap();
        let (watch, stop) = (watch(&dir.path().join("lora-alpaca")), StopFlag::new());
        let address =
            watch.serve(([127, 0, 0, 1], 0).into(), Some("SECRET".to_owned()), stop.clone()).unwrap();
        browser.go(&format!("http://{address}/"));
        browser.wait("!document.getElementById('key-box').classList.contains('hidden')");
        browser.fill("#key", "wrong");
        browser.press(&[key::ENTER]);
        browser.wait("document.getElementById('problem').textContent.includes('not the key')");
        browser.eval("document.getElementById('key').value = ''");
        browser.fill("#key", "SECRET");
        browser.press(&[key::ENTER]);
        browser.wait("document.getElementById('state').textContent === 'loading'");
        browser.screenshot(&format!("run-{name}-loading"));
        play(&watch, 130);
        browser.wait("document.querySelectorAll('#charts path').length > 20");
        assert!(browser.text("#figures").contains("130 / 300"), "{}", browser.text("#figures"));
        assert!(
            browser.text("#samples").contains("kept for their wool")
                && browser.text("#samples").contains("<img")
        );
        assert!(browser.text("#command").contains("finetune --data_path"));
        check(&browser);
        browser.screenshot(&format!("run-{name}-running"));

        browser.set("#smooth", "0.9");
        browser.click("#log");
        browser.set("#axis", "elapsed_s");
        browser.set("#sample-step", "40");
        assert!(browser.text("#samples").contains("after step 40"), "{}", browser.text("#samples"));
        browser.eval("document.querySelector('#charts svg').focus()");
        browser.press(&['\u{E012}']);
        assert!(
            browser.text("#charts .read").starts_with("time 0:02:4"),
            "{}",
            browser.text("#charts .read")
        );
        browser.click("#settings-box summary");
        assert!(browser.text("#settings").contains("learning_rate"));
        browser.click("#copy");
        browser.wait("document.getElementById('copy').textContent === 'Copied'");
        browser.set("#language", "zh");
        assert!(browser.text("#figures").contains("训练损失") && browser.text("#state") == "运行中");
        assert_eq!(browser.eval("document.documentElement.lang"), "zh");
        browser.prefer("dark");
        browser.eval("scrollTo(0, 0)");
        browser.screenshot(&format!("run-{name}-zh-dark"));
        browser.eval("document.getElementById('samples-box').scrollIntoView()");
        browser.screenshot(&format!("run-{name}-samples"));
        browser.set("#language", "en");

        browser.eval("scrollTo(0, 0)");
        browser.click("#stop");
        browser.accept();
        browser.wait("document.getElementById('state').textContent === 'stopping'");
        assert!(stop.is_requested());
        watch.end(
            State::Stopped,
            Some("stopped after step 130; go on with --resume_from_checkpoint".to_owned()),
        );
        browser.wait("document.getElementById('problem').textContent.includes('go on with')");
        drop(watch);
    }
}

#[test]
fn the_page_that_a_run_leaves_needs_no_server_and_several_runs_lie_over_each_other() {
    let Some(browser) = Browser::open("run-left", Screen::Desktop) else { return };
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("lora-a");
    let one = watch(&left);
    play(&one, 300);
    one.end(State::Finished, None);
    browser.go(&format!("file://{}/run.html", left.display()));
    browser.wait("document.getElementById('state').textContent === 'finished'");
    assert_eq!(browser.eval("document.getElementById('stop').classList.contains('hidden')"), true);
    check(&browser);
    browser.screenshot("run-left");
    browser.go(&format!("file://{}/loss.svg", left.display()));
    browser.screenshot("run-loss-svg");

    let other = RunRecord {
        name: format!("lora-b {FOREIGN}"),
        dir: "b".to_owned(),
        settings: vec![
            ("learning_rate".to_owned(), "0.001".to_owned()),
            ("lora_r".to_owned(), "8".to_owned()),
        ],
        steps: (1..=200)
            .map(|number| StepRecord { loss: Some(4.0 / (number as f64).sqrt()), ..step(number) })
            .collect(),
        ..RunRecord::default()
    };
    let both = dir.path().join("both.html");
    std::fs::write(&both, page(&[one.run(), other])).unwrap();
    browser.go(&format!("file://{}", both.display()));
    browser.wait("document.querySelectorAll('#runs tr').length === 3");
    let differ = browser.text("#differ");
    assert!(differ.contains("learning_rate") && !differ.contains("lora_r"), "{differ}");
    let lines = "document.querySelectorAll('#charts section:first-child path[stroke]').length";
    assert_eq!(browser.eval(lines), 3);
    check(&browser);
    browser.screenshot("runs-compared");
    browser.click("#legend label:first-child input");
    assert_eq!(browser.eval(lines), 1);
}
