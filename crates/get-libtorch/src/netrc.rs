//! Names and passwords of hosts in `~/.netrc`, which pip reads too.

use std::path::PathBuf;

use crate::env::Env;

/// A name and its password.
pub(crate) type Login = (String, String);

/// Returns the login for a host: that of `machine HOST`, or else of `default`. `NETRC` names another file.
pub(crate) fn login(env: &Env, host: &str) -> Option<Login> {
    let files = match (env.get("NETRC"), env.home()) {
        (Some(file), _) => vec![PathBuf::from(file)],
        (None, Some(home)) => vec![home.join(".netrc"), home.join("_netrc")],
        (None, None) => return None,
    };
    let text = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok())?;
    find(&text, host)
}

fn find(text: &str, host: &str) -> Option<Login> {
    let mut words = text.lines().map(|line| line.split(" #").next().unwrap_or_default());
    let mut words =
        words.by_ref().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let (mut matches, mut login, mut password) = (false, None, None);
    let take = |login: &mut Option<String>, password: &mut Option<String>| -> Option<Login> {
        let found = (login.take().unwrap_or_default(), password.take());
        found.1.map(|password| (found.0, password))
    };
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if matches {
                    break;
                }
                matches = word == "default" || words.next() == Some(host);
            }
            "login" | "user" if matches => login = words.next().map(str::to_owned),
            "password" if matches => password = words.next().map(str::to_owned),
            "login" | "user" | "password" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    take(&mut login, &mut password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_login_or_the_default_one() {
        let text = "# mirrors\nmachine a.example login anna password one\nmachine b.example\n  password two\n  login bob\ndefault login guest password three\n";
        let of = |host| find(text, host).unwrap();
        assert_eq!(of("a.example"), ("anna".to_owned(), "one".to_owned()));
        assert_eq!(of("b.example"), ("bob".to_owned(), "two".to_owned()));
        assert_eq!(of("c.example"), ("guest".to_owned(), "three".to_owned()));
        assert_eq!(find("machine a.example login anna password one", "b.example"), None);
    }
}
