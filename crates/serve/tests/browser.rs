//! The page in a real browser, as a user has it in front of them.

mod common;
mod webdriver;

use std::time::Duration;

use common::{Echo, Running, config, source, start, start_empty};
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
    // The other two views, the language, the source.
    for _ in 0..5 {
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

/// Nothing of a text became markup, and every control says what it does.
fn check(browser: &Browser) {
    assert_eq!(browser.eval("window.broken === undefined && !document.querySelector('main img')"), true);
    assert_eq!(browser.eval("document.documentElement.scrollWidth <= innerWidth"), true);
    let bare = "[...document.querySelectorAll('#form input, #form textarea, #form select, button')].filter(node => \
                !node.closest('[title]')).map(node => node.id || node.textContent).join(', ')";
    assert_eq!(browser.eval(bare), "", "every control has a hint");
}

#[test]
fn markdown_is_shown_as_nodes_and_a_block_is_copied() {
    let Some((browser, _server)) = open("markdown", Screen::Desktop) else { return };
    let text = "# Wool\n\nIt is **soft** and `warm`:\n\n- one\n- two\n\n```\nlet a = '<b>';\n```\n\
                <img src=x onerror=\"window.broken = 1\"> [web](https://example.org/) [no](javascript:alert(1))";
    let text = serde_json::json!(text);
    browser.eval(&format!("document.getElementById('instruction').value = {text}"));
    browser.set("#max_new_tokens", "400");
    browser.click("#submit");
    browser.wait(IDLE);
    let count =
        |css: &str| browser.eval(&format!("document.querySelectorAll('#one-view .text {css}').length"));
    assert_eq!(["h3", "strong", "li", "pre code", "a"].map(count), [1, 1, 2, 1, 1]);
    assert_eq!(browser.text("#one-view pre code"), "let a = '<b>';");
    assert!(answer(&browser).contains("<img src=x") && answer(&browser).contains("(javascript:alert(1))"));
    assert_eq!(browser.eval("document.querySelector('#one-view a').href"), "https://example.org/");
    check(&browser);
    browser.click("#one-view .block button");
    browser.wait("document.querySelector('#one-view .block button').textContent === 'Copied'");
    browser.screenshot("desktop-markdown");
    browser.click("#markdown");
    assert_eq!(count("h3"), 0);
    assert!(answer(&browser).starts_with("# Wool"), "{}", answer(&browser));
}

#[test]
fn a_conversation_goes_through_the_chat_template_and_shows_what_was_sent() {
    for (name, screen) in [("desktop", Screen::Desktop), ("phone", Screen::Phone)] {
        let Some(browser) = Browser::open(&format!("chat-{name}"), screen) else { return };
        let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
        let server = start(vec![source("chatty", Echo::default(), Some(template))], config());
        browser.go(&format!("http://{}/", server.address));
        browser.wait("document.getElementById('source').options.length === 1");
        browser.click("#view-chat");
        assert!(browser.text("#chat-note").contains("chat template"));
        assert!(browser.text("#model").contains("an echo called chatty"));
        browser.fill("#system", "Be kind.");
        browser.fill("#instruction", "Hello");
        browser.click("#submit");
        browser.wait(
            "document.getElementById('stop').disabled && document.querySelectorAll('.turn').length === 2",
        );
        browser.fill("#instruction", "Again");
        browser.click("#submit");
        browser.wait(
            "document.getElementById('stop').disabled && document.querySelectorAll('.turn').length === 4",
        );
        let sent = browser.eval("document.querySelector('.turn:last-child .sent pre').textContent");
        let first = "<system>Be kind.<user>Hello<assistant>";
        assert_eq!(sent, format!("{first}{first}<user>Again<assistant>"));
        check(&browser);
        browser.screenshot(&format!("{name}-chat"));
        browser.click("#new-chat");
        assert_eq!(browser.eval("document.querySelectorAll('.turn').length"), 0);
    }
}

#[test]
fn seed_template_and_language_are_chosen_and_the_history_is_taken_home() {
    let Some((browser, _server)) = open("choices", Screen::Desktop) else { return };
    browser.set("#seed", "17");
    browser.set("#repetition_penalty", "1.2");
    browser.set("#template", "none");
    browser.fill("#instruction", "Plain");
    browser.fill("#input", "text");
    browser.click("#submit");
    browser.wait(IDLE);
    assert!(browser.text("#one-view .figures").contains("seed 17"), "{}", browser.text("#one-view .figures"));
    assert_eq!(browser.eval("document.querySelector('#one-view .sent pre').textContent"), "<s>Plain\ntext");
    assert!(browser.text("#one-view .detail").contains("an echo called base"));
    browser.click("#one-view .sent summary");
    browser.screenshot("desktop-sent");
    // The file that would be saved, caught on its way.
    browser.eval(
        "(URL.createObjectURL = blob => { blob.text().then(text => { window.saved = JSON.parse(text); }); return '#'; })",
    );
    browser.click("#export");
    browser.wait("window.saved");
    assert_eq!(browser.eval("window.saved.history[0].settings.seed"), 17);
    assert_eq!(browser.eval("window.saved.history[0].settings.template"), "none");
    browser.click("#reset");
    assert_eq!(browser.eval("document.getElementById('seed').value"), "");
    browser.click("#history li button:last-child");
    assert_eq!(browser.eval("document.getElementById('seed').value"), "17");
    browser.set("#language", "zh");
    assert!(browser.text("#submit") == "生成" && browser.text("#settings").contains("温度"));
    assert_eq!(browser.eval("document.documentElement.lang"), "zh");
    check(&browser);
    browser.prefer("dark");
    browser.screenshot("desktop-zh-dark");
    browser.click("#clear");
    assert!(browser.text("#no-history").contains("回答"));
}

#[test]
fn the_page_opens_while_the_model_is_loaded_and_an_adapter_is_seen_off_and_on() {
    let Some(browser) = Browser::open("loading", Screen::Desktop) else { return };
    let (server, loader) = start_empty(config());
    loader.say("base (1 of 2)", 1, 2);
    browser.go(&format!("http://{}/", server.address));
    browser.wait("document.getElementById('loading-text').textContent === 'base (1 of 2)'");
    assert_eq!(browser.eval("document.getElementById('submit').disabled"), true);
    browser.screenshot("desktop-loading");
    let mut adapted = source("base+adapter", Echo { capitals_from: 5, ..Echo::default() }, None);
    adapted.adapter_off = Some("base".to_owned());
    let others = ["base", "other"].map(|name| source(name, Echo::default(), None));
    loader.ready(std::iter::once(adapted).chain(others).collect(), 4).unwrap();
    browser.wait("document.getElementById('source').options.length === 3");
    browser.click("#view-compare");
    let chosen = "[...document.querySelectorAll('#compare-list input:checked')].map(box => box.value).join()";
    assert_eq!(browser.eval(chosen), "base,base+adapter");
    browser.fill("#instruction", "Alpacas hum.");
    browser.click("#submit");
    browser.wait("document.getElementById('verdict').textContent.startsWith('The texts first differ')");
    assert!(browser.text("#cards").contains("adapter off") && browser.text("#cards").contains("adapter on"));
    browser.screenshot("desktop-before-after");
}
