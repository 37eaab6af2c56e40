//! What a plot shows, without how.

/// How numbers become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps are equally long; the axis begins at 0.
    FromZero,
    /// Equal steps are equally long; the axis begins near the smallest number.
    Linear,
    /// Equal ratios are equally long.
    Log,
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// How.
    pub scale: Scale,
    /// Where ticks stand; chosen where there are none.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// An axis that chooses its ticks.
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale, ticks: Vec::new() }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// A line, and a marker at each point.
    Points,
    /// A line.
    Line,
    /// A thin dashed line without an entry in the legend: a fit of the series before.
    Fit,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// What readers call it.
    pub label: String,
    /// Number of its colour, marker and dashes.
    pub style: usize,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Ranges at some points: x, lowest, highest.
    pub ranges: Vec<(f64, f64, f64)>,
    /// How it is drawn.
    pub draw: Draw,
}

/// One bar: repeated measurements of one thing.
#[derive(Debug, Clone)]
pub struct Group {
    /// What readers call it.
    pub label: String,
    /// Number of its colour and marker.
    pub style: usize,
    /// Every measurement.
    pub values: Vec<f64>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub enum Content {
    /// Lines over two axes.
    Curves {
        /// From left to right.
        x: Axis,
        /// From below to above.
        y: Axis,
        /// The lines.
        series: Vec<Series>,
    },
    /// Bars to the right, one for each group, with its measurements on it.
    Bars {
        /// What they measure, with the unit.
        label: String,
        /// The bars.
        groups: Vec<Group>,
    },
}

/// A plot.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Name of its files.
    pub stem: String,
    /// What is drawn.
    pub content: Content,
}

impl Chart {
    /// Whether there is anything to see.
    pub fn is_empty(&self) -> bool {
        match &self.content {
            Content::Curves { series, .. } => series.iter().all(|series| series.points.is_empty()),
            Content::Bars { groups, .. } => groups.iter().all(|group| group.values.is_empty()),
        }
    }
}
