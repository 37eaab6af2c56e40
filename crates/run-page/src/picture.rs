//! `loss.svg`: the loss of runs over their steps, as a picture for reports.

use std::fmt::Write as _;

use crate::RunRecord;
use crate::escape::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 48.0;
/// Colours of runs, apart for people with any colour vision (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Draws training loss (a line) and validation loss (a dashed line with dots) of `runs`.
pub fn loss_svg(runs: &[RunRecord]) -> String {
    let curves: Vec<Curve> =
        runs.iter().enumerate().flat_map(|(index, run)| curves(run, index, runs.len())).collect();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (x, y) =
        (Axis::of(points().map(|point| point.0), true), Axis::of(points().map(|point| point.1), false));
    let place_x = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
    let place_y = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = escaped(&names.join(", "));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
         <title>Loss of {title}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    for tick in y.ticks() {
        let (at, right) = (place_y(tick), WIDTH - RIGHT);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>");
        let (left, base, label) = (LEFT - 8.0, at + 4.0, y.label(tick));
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{base:.1}\" text-anchor=\"end\" fill=\"#444444\">{label}</text>"
        );
    }
    for tick in x.ticks() {
        let (at, base, label) = (place_x(tick), HEIGHT - BOTTOM + 18.0, x.label(tick));
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{base}\" text-anchor=\"middle\" fill=\"#444444\">{label}</text>"
        );
    }
    let (middle, low, axis) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 10.0, HEIGHT - BOTTOM);
    let _ = writeln!(svg, "<path d=\"M{LEFT} {axis}H{}\" stroke=\"#444444\"/>", WIDTH - RIGHT);
    let _ =
        writeln!(svg, "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\" fill=\"#444444\">step</text>");
    for (index, curve) in curves.iter().enumerate() {
        let path: Vec<String> = curve
            .points
            .iter()
            .map(|&(step, loss)| format!("{:.1} {:.1}", place_x(step), place_y(loss)))
            .collect();
        let (colour, dash) =
            (curve.colour, if curve.is_validation { " stroke-dasharray=\"6 4\"" } else { "" });
        if path.len() > 1 {
            let path = path.join("L");
            let _ = writeln!(
                svg,
                "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dash}/>"
            );
        }
        if curve.is_validation || path.len() == 1 {
            for &(step, loss) in &curve.points {
                let (x, y) = (place_x(step), place_y(loss));
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        let at = LEFT + 190.0 * (index % 3) as f64;
        let base = 16.0 + 16.0 * (index / 3) as f64;
        let line = base - 4.0;
        let _ = writeln!(svg, "<path d=\"M{at} {line}h22\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>");
        let (text, name) = (at + 28.0, escaped(&curve.name));
        let _ = writeln!(svg, "<text x=\"{text}\" y=\"{base}\" fill=\"#222222\">{name}</text>");
    }
    svg + "</svg>\n"
}

struct Curve {
    name: String,
    colour: &'static str,
    is_validation: bool,
    /// Steps and losses.
    points: Vec<(f64, f64)>,
}

fn curves(run: &RunRecord, index: usize, runs: usize) -> Vec<Curve> {
    let run = run.thinned();
    let short: String = run.name.chars().take(24).collect();
    let named = |what: &str| if runs == 1 { what.to_owned() } else { format!("{short}: {what}") };
    let training = run.steps.iter().filter_map(|record| Some((record.step as f64, record.loss?)));
    let validation = run.evals.iter().map(|record| (record.step as f64, record.eval_loss));
    let colour = |second: usize| COLOURS[if runs == 1 { second } else { index % COLOURS.len() }];
    let curve = |what: &str, points: Vec<(f64, f64)>, is_validation: bool| Curve {
        name: named(what),
        colour: colour(usize::from(is_validation)),
        is_validation,
        points: points.into_iter().filter(|point| point.1.is_finite()).collect(),
    };
    let both =
        [curve("training", training.collect(), false), curve("validation", validation.collect(), true)];
    both.into_iter().filter(|curve| !curve.points.is_empty()).collect()
}

/// A range of values with round numbers between.
struct Axis {
    least: f64,
    most: f64,
    step: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, whole: bool) -> Self {
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let (least, most) = if least.is_finite() { (least, most) } else { (0.0, 1.0) };
        let span = if most > least { most - least } else { most.abs().max(1.0) };
        let rough = span / 5.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
        let step = if whole { (factor * power).max(1.0).round() } else { factor * power };
        if whole {
            return Self { least, most: least + span, step };
        }
        Self { least: (least / step).floor() * step, most: ((least + span) / step).ceil() * step, step }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.least) / (self.most - self.least)
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.least / self.step - 1e-9).ceil() as i64;
        let last = (self.most / self.step + 1e-9).floor() as i64;
        (first..=last.min(first + 12)).map(|number| number as f64 * self.step).collect()
    }

    fn label(&self, tick: f64) -> String {
        let places = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        format!("{tick:.places$}")
    }
}

#[cfg(test)]
mod tests {
    use trainer::EvalRecord;

    use super::*;

    fn run(name: &str, losses: &[f64]) -> RunRecord {
        let record = |(index, &eval_loss): (usize, &f64)| EvalRecord {
            step: index as u64 + 1,
            epoch: 0.0,
            eval_loss,
            eval_s: 0.0,
            elapsed_s: 0.0,
        };
        RunRecord {
            name: name.to_owned(),
            evals: losses.iter().enumerate().map(record).collect(),
            ..RunRecord::default()
        }
    }

    #[test]
    fn a_picture_holds_names_as_text_and_every_finite_point() {
        let svg = loss_svg(&[run("<script>&\"", &[3.0, f64::NAN, 1.0])]);
        assert!(svg.contains("&lt;script&gt;&amp;&quot;") && !svg.contains("<script"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let two = loss_svg(&[run("a", &[3.0, 2.0]), run("b", &[3.0, 1.0])]);
        assert!(two.contains("a: validation") && two.contains("b: validation"));
    }

    #[test]
    fn a_picture_of_nothing_or_of_one_point_is_a_picture() {
        for runs in [vec![], vec![run("a", &[])], vec![run("a", &[2.5])], vec![run("a", &[2.5, 2.5])]] {
            let svg = loss_svg(&runs);
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }
}
