//! Who this process is, as its launcher says in the environment.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::GroupError;
use crate::launcher::Launcher;
use crate::slurm;

/// One of several processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Who started it.
    pub launcher: Launcher,
    /// Its number, from 0.
    pub rank: usize,
    /// Number of processes.
    pub world_size: usize,
    /// Its number among those of its machine, from 0.
    pub local_rank: usize,
    /// Machine of rank 0, where the processes meet.
    pub host: String,
    /// Port there.
    pub port: u16,
    /// The launcher listens at the port, and not rank 0.
    pub launcher_listens: bool,
    /// Number of this start, where the launcher starts again what has failed.
    pub attempt: u32,
}

/// Looks a variable up.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of a launcher.
struct Names {
    launcher: Launcher,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
}

const TORCHRUN: Names =
    Names { launcher: Launcher::Torchrun, rank: "RANK", size: "WORLD_SIZE", local_rank: "LOCAL_RANK" };
const OPEN_MPI: Names = Names {
    launcher: Launcher::OpenMpi,
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
};
const SLURM: Names = Names {
    launcher: Launcher::Slurm,
    rank: "SLURM_PROCID",
    size: "SLURM_NTASKS",
    local_rank: "SLURM_LOCALID",
};

/// Ports for jobs that name none: below those that systems give out of themselves.
const FIRST_PORT: u16 = 20_000;
const PORTS: u64 = 9_000;

impl Launch {
    /// Reads the environment of this process; `None` for a process on its own. `torchrun` goes before Open MPI, and that before
    /// Slurm: launchers start each other in this order.
    ///
    /// # Errors
    /// [`GroupError::HalfSet`] and [`GroupError::Variable`], which name the variable.
    pub fn from_env() -> Result<Option<Self>, GroupError> {
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Reads an environment.
    ///
    /// # Errors
    /// Those of [`Launch::from_env`].
    pub fn read(lookup: Lookup<'_>) -> Result<Option<Self>, GroupError> {
        // In a batch script, and in a shell on an allocation, Slurm's variables are those of the script: `srun` starts a step.
        let in_step = ["SLURM_STEP_ID", "SLURM_STEPID"].iter().any(|name| lookup(name).is_some());
        let launchers = [TORCHRUN, OPEN_MPI].into_iter().chain(in_step.then_some(SLURM));
        for names in launchers {
            // One process is none of several, whatever else its launcher leaves out.
            if lookup(names.size).as_deref() == Some("1") {
                return Ok(None);
            }
            if let Some(launch) = names.read(lookup)? {
                return Ok(Some(launch));
            }
        }
        Ok(None)
    }
}

impl Names {
    fn read(&self, lookup: Lookup<'_>) -> Result<Option<Launch>, GroupError> {
        let names = [self.rank, self.size, self.local_rank];
        let Some(found) = names.into_iter().find(|name| lookup(name).is_some()) else { return Ok(None) };
        if let Some(missing) = names.into_iter().find(|name| lookup(name).is_none()) {
            return Err(self.half_set(found, missing));
        }
        let world_size = number(lookup, self.size, 1, 1 << 20, "a number of processes, at least 1")?;
        let below = format!("a number below {} ({world_size})", self.size);
        let rank = number(lookup, self.rank, 0, world_size - 1, &below)?;
        let local_rank =
            number(lookup, self.local_rank, 0, rank, &format!("at most {} ({rank})", self.rank))?;
        let launcher_listens = lookup("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        let attempt = lookup("TORCHELASTIC_RESTART_COUNT").and_then(|count| count.parse().ok());
        let (host, port) = self.meeting(lookup)?;
        Ok(Some(Launch {
            launcher: self.launcher,
            rank,
            world_size,
            local_rank,
            host,
            port,
            launcher_listens: self.launcher == Launcher::Torchrun && launcher_listens,
            attempt: attempt.unwrap_or(0),
        }))
    }

    /// Finds the machine and the port where the processes meet.
    fn meeting(&self, lookup: Lookup<'_>) -> Result<(String, u16), GroupError> {
        let given = |name| lookup(name).ok_or_else(|| self.half_set(self.size, name));
        let host = match self.launcher {
            Launcher::Torchrun => given("MASTER_ADDR")?,
            Launcher::OpenMpi => match lookup("MASTER_ADDR") {
                Some(host) => host,
                None if lookup("OMPI_COMM_WORLD_LOCAL_SIZE") == lookup(self.size) => "127.0.0.1".to_owned(),
                None => {
                    let missing = "MASTER_ADDR (mpirun -x MASTER_ADDR=…, the machine of rank 0)";
                    return Err(self.half_set(self.size, missing));
                }
            },
            Launcher::Slurm => {
                let nodes = ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"];
                let first = || nodes.iter().find_map(|name| slurm::first_host(&lookup(name)?));
                let host = lookup("MASTER_ADDR").or_else(first);
                host.ok_or_else(|| self.half_set(self.rank, "SLURM_JOB_NODELIST"))?
            }
        };
        let port = if lookup("MASTER_PORT").is_some() {
            number(lookup, "MASTER_PORT", 1, usize::from(u16::MAX), "a port, 1 to 65535")? as u16
        } else if self.launcher == Launcher::Torchrun {
            return Err(self.half_set(self.size, "MASTER_PORT"));
        } else {
            job_port(lookup)
        };
        Ok((host, port))
    }

    fn half_set(&self, found: &'static str, missing: &str) -> GroupError {
        GroupError::HalfSet { launcher: self.launcher, found, missing: missing.to_owned() }
    }
}

/// Makes a port of what names the job: the same in all its processes, and most probably another in another job.
fn job_port(lookup: Lookup<'_>) -> u16 {
    let names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"];
    let mut hasher = DefaultHasher::new();
    names.map(lookup).hash(&mut hasher);
    FIRST_PORT + (hasher.finish() % PORTS) as u16
}

fn number(
    lookup: Lookup<'_>,
    name: &'static str,
    least: usize,
    most: usize,
    expected: &str,
) -> Result<usize, GroupError> {
    let actual = lookup(name).unwrap_or_default();
    let value = actual.parse().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| GroupError::Variable { name, actual, expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Launch>, String> {
        let find = |name: &str| variables.iter().find(|(of, _)| *of == name);
        let lookup = |name: &str| find(name).map(|(_, value)| (*value).to_owned());
        Launch::read(&lookup).map_err(|error| error.to_string())
    }

    const SET: [(&str, &str); 5] = [
        ("RANK", "3"),
        ("WORLD_SIZE", "8"),
        ("LOCAL_RANK", "1"),
        ("MASTER_ADDR", "node1"),
        ("MASTER_PORT", "29500"),
    ];

    #[test]
    fn torchrun_says_who_a_process_is() {
        let launch = read(&SET).unwrap().unwrap();
        assert_eq!((launch.rank, launch.world_size, launch.local_rank), (3, 8, 1));
        assert_eq!((&*launch.host, launch.port, launch.launcher_listens), ("node1", 29500, false));
        let agent = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
        let launch = read(&[&SET[..], &agent].concat()).unwrap().unwrap();
        assert!(launch.launcher_listens && launch.attempt == 2);
    }

    #[test]
    fn a_process_on_its_own_is_no_group() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&SET[3..]), Ok(None));
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")]), Ok(None));
        // As platforms that run one container set them.
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]), Ok(None));
        // A script that `sbatch` runs is no task of `srun`.
        let batch = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_LOCALID", "0")];
        assert_eq!(read(&batch), Ok(None));
    }

    #[test]
    fn half_a_set_is_refused_by_name() {
        for left_out in 0..SET.len() {
            let mut variables = SET.to_vec();
            let (name, _) = variables.remove(left_out);
            let error = read(&variables).unwrap_err();
            assert!(error.contains(&format!("{name} is not: torchrun sets both")), "{error}");
        }
        let error = read(&[("OMPI_COMM_WORLD_RANK", "0")]).unwrap_err();
        assert!(error.contains("OMPI_COMM_WORLD_SIZE is not: mpirun"), "{error}");
    }

    #[test]
    fn values_that_contradict_each_other_are_refused_by_name() {
        for (name, value) in
            [("RANK", "8"), ("RANK", "-1"), ("WORLD_SIZE", "0"), ("LOCAL_RANK", "4"), ("MASTER_PORT", "x")]
        {
            let changed = SET.map(|(of, old)| (of, if of == name { value } else { old }));
            let error = read(&changed).unwrap_err();
            assert!(error.contains(&format!("{name} is `{value}`; expected ")), "{error}");
        }
    }

    #[test]
    fn open_mpi_meets_on_one_machine_and_asks_for_an_address_on_several() {
        let with = |local_size| {
            [
                ("OMPI_COMM_WORLD_RANK", "1"),
                ("OMPI_COMM_WORLD_SIZE", "4"),
                ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
                ("OMPI_COMM_WORLD_LOCAL_SIZE", local_size),
                ("PMIX_NAMESPACE", "1180434433"),
                // Open MPI's own daemon is a task of Slurm.
                ("SLURM_STEP_ID", "0"),
                ("SLURM_PROCID", "0"),
            ]
        };
        let launch = read(&with("4")).unwrap().unwrap();
        assert_eq!((launch.launcher, launch.rank, &*launch.host), (Launcher::OpenMpi, 1, "127.0.0.1"));
        assert!((20_000..29_000).contains(&launch.port));
        let error = read(&with("2")).unwrap_err();
        assert!(error.contains("mpirun -x MASTER_ADDR="), "{error}");
    }

    #[test]
    fn slurm_meets_at_the_first_machine_of_the_step() {
        let step = [
            ("SLURM_PROCID", "5"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_JOB_ID", "77"),
            ("SLURM_JOB_NODELIST", "gpu[07-09,12]"),
        ];
        let launch = read(&step).unwrap().unwrap();
        assert_eq!((launch.launcher, launch.rank, &*launch.host), (Launcher::Slurm, 5, "gpu07"));
        let other = read(&step.map(|(name, value)| (name, if value == "77" { "78" } else { value })));
        assert_ne!(other.unwrap().unwrap().port, launch.port);
    }
}
