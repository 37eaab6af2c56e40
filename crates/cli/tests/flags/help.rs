//! `-h`, `--help` and their examples.

use cli::help::GUIDES;

use crate::programs;

#[test]
fn every_heading_has_an_example_that_parses_and_short_help_lists_flags_that_exist() {
    for (command, _) in programs() {
        let name = command.get_name().to_owned();
        let guide = GUIDES.iter().find(|guide| guide.program == name).unwrap();
        for flag in guide.short {
            assert!(command.get_arguments().any(|arg| arg.get_id() == flag), "{name}: {flag}");
        }
        for (heading, example) in guide.examples {
            let words = example.replace('\'', "");
            let flags: Vec<&str> = words.split(' ').filter(|word| word.starts_with('-')).collect();
            let is_of_heading = |arg: &clap::Arg| {
                let short = arg.get_short().map(|short| format!("-{short}"));
                let long = arg.get_long().map(|long| format!("--{long}"));
                let mut names = [short, long].into_iter().flatten();
                let is_used = arg.is_positional() || names.any(|name| flags.contains(&&*name));
                arg.get_help_heading() == Some(heading) && is_used
            };
            assert!(command.get_arguments().any(is_of_heading), "{name}: `{example}` is not of {heading}");
            let quoted = example.split('\'').enumerate().flat_map(|(index, part)| {
                if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
            });
            command.clone().try_get_matches_from(quoted).unwrap();
        }
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        for heading in
            shown.filter_map(|arg| arg.get_help_heading()).filter(|name| *name != "Other spellings")
        {
            assert!(guide.examples.iter().any(|(of, _)| *of == heading), "{name}: no example of {heading}");
        }
    }
}

#[test]
fn short_help_fits_a_screen_and_long_help_has_every_flag() {
    for (mut command, _) in programs() {
        let name = command.get_name().to_owned();
        let (short, long) = (command.render_help().to_string(), command.render_long_help().to_string());
        assert!(short.lines().count() <= 50, "{name}: {} lines\n{short}", short.lines().count());
        assert!(short.contains("Example:") && !short.contains("ignore_unknown_settings"), "{short}");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(long.contains(&format!("--{}", arg.get_long().unwrap_or_default())), "{name}: {arg}");
        }
    }
}
