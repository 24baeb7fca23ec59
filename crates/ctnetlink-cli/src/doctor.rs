//! `doctor`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use ctnetlink::diagnose::{Diagnosis, Level, Names};
use ctnetlink::{Conntrack, DesiredState};
use serde_json::{Map, Value};

use crate::failure::{Done, Failure};
use crate::list::interval;
use crate::options::Namespace;
use crate::{COULD_NOT_LOOK, names, output, screen};

/// Say what is wrong with the table, and what to do
///
/// It watches the counters for two seconds, dumps the table once, and changes nothing.
///
/// Exit status: 0 ok, 1 warning, 2 critical, 3 could not look.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long the counters are watched; 0: only what was lost since the namespace exists is known
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, conflicts_with = "watch")]
    interval: f64,

    /// Services and pods by name, and stale entries: the output of
    /// `kubectl get services,endpointslices,pods -A -o json` (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Do not dump the table: then it is not known what holds it
    #[arg(long)]
    quick: bool,

    /// Rows of the tables
    #[arg(long, value_name = "N", default_value_t = 5)]
    rows: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Look again and again, by default every 2 s
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    watch: Option<f64>,
}

/// A look that can be repeated.
pub(crate) struct Look {
    pub(crate) ct: Conntrack,
    pub(crate) names: Names,
    pub(crate) desired: Option<DesiredState>,
    pub(crate) rows: usize,
    pub(crate) summary: bool,
}

impl Look {
    pub(crate) fn now(&self, interval: Duration) -> Result<Diagnosis, Failure> {
        let mut look = self.ct.diagnose().interval(interval).rows(self.rows).summary(self.summary);
        if let Some(desired) = &self.desired {
            look = look.desired(desired);
        }
        Ok(look.names(self.names.clone()).run()?)
    }
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    // When DNS is down, kubectl fails: the diagnosis is needed all the same.
    let known = arguments.cluster.as_deref().and_then(|file| match names::load(file) {
        Ok(known) => Some(known),
        Err(error) => {
            output::note(format_args!(
                "{error}: numbers instead of names, stale entries not counted"
            ));
            None
        }
    });
    let (names, desired) = known.map_or_else(Default::default, |k| (k.names, k.desired));
    if arguments.quick && desired.is_some() {
        output::note("--quick: stale entries are not counted");
    }
    let seconds = match arguments.watch {
        Some(seconds) => interval(seconds)?,
        None => Duration::try_from_secs_f64(arguments.interval)
            .map_err(|e| Failure::BadInput(format!("--interval {}: {e}", arguments.interval)))?,
    };
    let ct = namespace.open()?;
    let look = Look { ct, names, desired, rows: arguments.rows, summary: !arguments.quick };
    let draw = |found: &Diagnosis| -> Result<String, Failure> {
        Ok(match arguments.json {
            true => json(found, &namespace.words())?.to_string(),
            false => screen::diagnosis(found, &namespace.words()),
        })
    };
    if arguments.watch.is_some() {
        // The counters are watched for the whole time between two frames.
        return output::watch(Duration::ZERO, || draw(&look.now(seconds)?));
    }
    if output::shows_progress(arguments.json) {
        output::progress("looking at the counters and at the table ...");
    }
    let found = look.now(seconds)?;
    output::clear_progress();
    output::print(&draw(&found)?)?;
    Ok(Done(match found.level {
        Some(Level::Critical) => 2,
        Some(Level::Warning) => 1,
        Some(_) => 0,
        None => COULD_NOT_LOOK,
    }))
}

/// The diagnosis, with what the screen says besides.
fn json(found: &Diagnosis, namespace: &str) -> Result<Value, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut all = Map::new();
    all.insert("verdict".into(), screen::verdict(found, namespace).into());
    all.insert("complete".into(), screen::is_complete(found).into());
    all.insert("node".into(), screen::node().into());
    all.insert("time".into(), now.as_secs().into());
    if let Value::Object(members) = serde_json::to_value(found)? {
        all.extend(members);
    }
    all.insert("not_checked".into(), screen::NOT_CHECKED.to_vec().into());
    Ok(Value::Object(all))
}
