//! The page in a real browser, as a user has it in front of them.

mod common;
mod webdriver;

use std::time::Duration;

use common::{Echo, Running, config, source, start};
use webdriver::{Browser, Screen, key};

const IDLE: &str =
    "document.getElementById('stop').disabled && document.getElementById('one-view').innerText !== ''";

/// Two sources that part company at the 20th character, slow enough to be watched.
fn server() -> Running {
    let echo = |capitals_from| Echo { step: Duration::from_millis(15), capitals_from, ..Echo::default() };
    let sources = vec![source("base", echo(usize::MAX), None), source("base+adapter", echo(19), None)];
    start(sources, config())
}

fn open(test: &str, screen: Screen) -> Option<(Browser, Running)> {
    let browser = Browser::open(test, screen)?;
    let server = server();
    browser.go(&format!("http://{}/", server.address));
    browser.wait("document.getElementById('source').options.length === 2");
    Some((browser, server))
}

fn answer(browser: &Browser) -> String {
    browser
        .eval("document.querySelector('#one-view .text').textContent")
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn an_answer_streams_into_the_page_until_stop_is_pressed() {
    for (name, screen) in [("desktop", Screen::Desktop), ("phone", Screen::Phone)] {
        let Some((browser, server)) = open(&format!("answer-{name}"), screen) else { return };
        browser.screenshot(&format!("{name}-start"));
        browser.fill("#instruction", "Tell me of alpacas, forever. ");
        browser.click("#submit");
        browser.wait("document.querySelector('#one-view .text').textContent.length > 40");
        browser.screenshot(&format!("{name}-writing"));
        let seen = answer(&browser);
        browser
            .wait(&format!("document.querySelector('#one-view .text').textContent.length > {}", seen.len()));
        assert!(browser.text("#one-view").contains("tokens/s"), "{}", browser.text("#one-view"));
        browser.click("#stop");
        browser.wait(IDLE);
        let stopped = answer(&browser);
        assert!(stopped.starts_with("Tell me of alpacas, forever. Tell me"), "{stopped}");
        assert!(browser.text("#one-view").contains("stopped"));
        server.wait_for("generate_requests_total{source=\"base\",outcome=\"cancelled\"}", 1.0);
        assert_eq!(answer(&browser), stopped, "nothing follows what was stopped");
        assert!(browser.text("#history").contains("Tell me of alpacas, forever."));
        let width = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.eval(width), true, "the page is no wider than the screen");
        browser.screenshot(&format!("{name}-stopped"));
    }
}

#[test]
fn sources_are_compared_and_the_first_difference_is_marked() {
    for (name, screen) in [("desktop", Screen::Desktop), ("phone", Screen::Phone)] {
        let Some((browser, _server)) = open(&format!("compare-{name}"), screen) else { return };
        browser.click("#view-compare");
        browser.fill("#instruction", "Alpacas hum when they are content.");
        browser.click("#submit");
        browser.wait("document.getElementById('verdict').textContent.startsWith('The texts first differ')");
        browser.wait("document.getElementById('stop').disabled");
        let marks = "[...document.querySelectorAll('#cards mark')].map(mark => mark.textContent).join('|')";
        assert_eq!(browser.eval(marks), "they|thEY");
        let verdict = browser.text("#verdict");
        assert_eq!(verdict, "The texts first differ at character 20: base “they”, base+adapter “thEY”.");
        browser.screenshot(&format!("{name}-compare"));
        browser.prefer("dark");
        browser.screenshot(&format!("{name}-compare-dark"));

        // The same source twice over says so.
        browser.eval("document.getElementById('instruction').value = 'Alpacas hum.'");
        browser.click("#submit");
        browser.wait("document.getElementById('verdict').textContent === 'The texts are equal.'");
        assert_eq!(browser.eval(marks), "");
    }
}

#[test]
fn the_page_works_by_keyboard_alone() {
    let Some((browser, _server)) = open("keyboard", Screen::Desktop) else { return };
    browser.eval("document.getElementById('view-one').focus()");
    for _ in 0..3 {
        browser.press(&[key::TAB]);
    }
    assert_eq!(browser.eval("document.activeElement.id"), "instruction");
    browser.press(&[key::CONTROL, key::ENTER]);
    browser.wait("document.activeElement.getAttribute('aria-invalid') === 'true'");
    assert!(browser.text("#form").contains("Write an instruction first."));
    for letter in "ab forever ".chars() {
        browser.press(&[letter]);
    }
    browser.press(&[key::CONTROL, key::ENTER]);
    browser.wait("document.querySelector('#one-view .text').textContent.length > 12");
    browser.press(&[key::ESCAPE]);
    browser.wait(IDLE);
    assert!(answer(&browser).starts_with("ab forever ab"), "{}", answer(&browser));
    let unnamed = "[...document.querySelectorAll('input, textarea, select, button')].filter(node => \
                   !node.labels?.length && !node.getAttribute('aria-label') && !node.textContent).length";
    assert_eq!(browser.eval(unnamed), 0, "every control has a name");
}

#[test]
fn controls_are_explained_and_errors_are_shown_beside_their_source() {
    let Some((browser, mut server)) = open("settings", Screen::Desktop) else { return };
    let value = |id: &str| browser.eval(&format!("document.getElementById('{id}').value"));
    assert_eq!(
        ["temperature", "top_p", "top_k", "num_beams", "max_new_tokens"].map(value),
        ["0.1", "0.75", "40", "1", "128"]
    );
    browser.eval(
        "(document.getElementById('num_beams').value = 4, \
         document.getElementById('num_beams').dispatchEvent(new Event('input')))",
    );
    assert!(browser.text("#mode-note").contains("cannot stream"), "{}", browser.text("#mode-note"));
    assert_eq!(browser.eval("document.getElementById('temperature').disabled"), true);
    browser.fill("#instruction", "By beams.");
    browser.click("#submit");
    browser.wait("document.querySelector('#one-view .text').textContent === 'By beams.'");

    browser.fill("#instruction", " Now fail.");
    browser.click("#submit");
    browser.wait("document.querySelector('#one-view .error').innerText.startsWith('the answer failed: ')");
    browser.screenshot("desktop-error");
    server.stop();
    browser.click("#submit");
    browser.wait("document.querySelector('#one-view .error').innerText.includes('cannot be reached')");
}
