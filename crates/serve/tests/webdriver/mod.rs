//! A browser, driven over the `WebDriver` protocol: JSON over HTTP, so a few lines do.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";
/// The key under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Time a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that are no characters.
pub(crate) mod key {
    pub(crate) const CONTROL: char = '\u{E009}';
    pub(crate) const ENTER: char = '\u{E007}';
    pub(crate) const ESCAPE: char = '\u{E00C}';
    pub(crate) const TAB: char = '\u{E004}';
}

/// Size of the window.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Screen {
    Desktop,
    Phone,
}

/// A browser window. It closes when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: Profile,
}

/// A user-data directory that goes away with its browser.
struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Browser {
    /// Opens a window; `None`, said aloud, where there is no Chromium.
    pub(crate) fn open(test: &str, screen: Screen) -> Option<Self> {
        if !Path::new(CHROMIUM).exists() || !Path::new(CHROMEDRIVER).exists() {
            eprintln!(
                "skipped: {test} needs {CHROMIUM} and {CHROMEDRIVER} (packages chromium, chromium-driver)"
            );
            return None;
        }
        let profile = std::env::temp_dir().join(format!("browser-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&profile).unwrap();
        let mut driver = Command::new(CHROMEDRIVER)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            line.unwrap().split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        // What it prints later is nobody's business, but the pipe must not break.
        std::thread::spawn(move || lines.for_each(drop));
        let data = format!("--user-data-dir={}", profile.display());
        let mut options = json!({ "binary": CHROMIUM, "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--window-size=1280,900", data,
        ]});
        if matches!(screen, Screen::Phone) {
            let metrics =
                json!({ "width": 390, "height": 844, "pixelRatio": 2.0, "touch": true, "mobile": true });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let mut browser =
            Self { driver, port: port.unwrap(), session: String::new(), _profile: Profile(profile) };
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let value = browser.call("POST", "/session", &capabilities);
        browser.session = format!("/session/{}", value["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// One command of the protocol.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        let (path, length) = (format!("{}{path}", self.session), body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut headers).unwrap() > 0, "the driver ended: {headers}");
        }
        let headers = headers.to_ascii_lowercase();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        let mut body = vec![0; length.trim().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        let value = value["value"].take();
        assert!(value["error"].is_null(), "{method} {path}: {}", value["message"]);
        value
    }

    pub(crate) fn go(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    fn element(&self, css: &str) -> String {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks as a user does: what is hidden or covered cannot be clicked.
    pub(crate) fn click(&self, css: &str) {
        self.call("POST", &format!("/element/{}/click", self.element(css)), &json!({}));
    }

    /// Types into an element, after what is there.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.call("POST", &format!("/element/{}/value", self.element(css)), &json!({ "text": text }));
    }

    /// Presses keys together, wherever the focus is, and lets them go.
    pub(crate) fn press(&self, keys: &[char]) {
        let key = |kind: &str, key: &char| json!({ "type": kind, "value": key.to_string() });
        let down = keys.iter().map(|value| key("keyDown", value));
        let up = keys.iter().rev().map(|value| key("keyUp", value));
        let actions: Vec<Value> = down.chain(up).collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("POST", "/actions", &json!({ "actions": [source] }));
    }

    /// Returns the value of a script.
    pub(crate) fn eval(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": format!("return {script};"), "args": [] }))
    }

    /// The text that a user sees in an element.
    pub(crate) fn text(&self, css: &str) -> String {
        self.eval(&format!("document.querySelector({}).innerText", json!(css))).as_str().unwrap().to_owned()
    }

    /// Waits until a piece of script gives true.
    pub(crate) fn wait(&self, condition: &str) {
        let begun = Instant::now();
        while self.eval(&format!("Boolean({condition})")) != json!(true) {
            assert!(
                begun.elapsed() < PATIENCE,
                "`{condition}` does not come to hold; the page says:\n{}",
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Agrees to the question that a page has asked.
    pub(crate) fn accept(&self) {
        self.call("POST", "/alert/accept", &json!({}));
    }

    /// Sets a control to a value, as a user does who moves it.
    pub(crate) fn set(&self, css: &str, value: &str) {
        let (css, value) = (json!(css), json!(value));
        self.eval(&format!(
            "(node => {{ node.value = {value}; for (const kind of ['input', 'change']) \
             node.dispatchEvent(new Event(kind, {{ bubbles: true }})); }})(document.querySelector({css}))"
        ));
    }

    /// The choice of light or dark that the page is shown with.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.call("POST", "/goog/cdp/execute", &body);
    }

    /// Returns what the window shows, as PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let png = base64(self.call("GET", "/screenshot", &Value::Null).as_str().unwrap());
        assert!(png.starts_with(b"\x89PNG"));
        png
    }

    /// Saves the page as it stands as `target/screenshots/NAME.svg`: its elements and styles, as text, with nothing that runs.
    pub(crate) fn snapshot(&self, name: &str) {
        let page = self.eval(
            "(() => { const page = document.documentElement.cloneNode(true); \
               const fields = [...document.querySelectorAll('input, textarea, select')]; \
               [...page.querySelectorAll('input, textarea, select')].forEach((copy, index) => { \
                 const field = fields[index]; \
                 if (copy.tagName === 'TEXTAREA') copy.textContent = field.value; \
                 else if (copy.tagName === 'INPUT') { copy.setAttribute('value', field.value); \
                   copy.toggleAttribute('checked', field.checked); } \
                 else [...copy.options].forEach((option, at) => option.toggleAttribute('selected', at === field.selectedIndex)); }); \
               page.querySelectorAll('script, link, meta').forEach(node => node.remove()); \
               return new XMLSerializer().serializeToString(page); })()",
        );
        let (page, [width, height]) = (page.as_str().unwrap(), [1280, 900]);
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" style=\"background:var(--bg)\">\n\
             <foreignObject width=\"{width}\" height=\"{height}\">{page}</foreignObject>\n</svg>\n"
        );
        std::fs::write(screenshots().join(format!("{name}.svg")), svg).unwrap();
    }

    /// Saves what the window shows as `target/screenshots/NAME.png`.
    pub(crate) fn screenshot(&self, name: &str) {
        std::fs::write(screenshots().join(format!("{name}.png")), self.picture()).unwrap();
    }
}

fn screenshots() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also after a failure, when nothing may fail here: the browser would outlive its driver.
        if !self.session.is_empty()
            && let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port))
        {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = write!(
                stream,
                "DELETE {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.read(&mut [0]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Bytes of a base64 text.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no digit of base64"),
    };
    let digits: Vec<u32> = text.bytes().filter(|&byte| byte != b'=').map(digit).collect();
    let group = |group: &[u32]| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
