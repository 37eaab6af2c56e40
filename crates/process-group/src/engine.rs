//! Who makes the sums.

use std::env;
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

use tch::{Device, Tensor};
use torch_ext::distributed::{self, Gloo, Listen};

use crate::GroupError;
use crate::keys::Keys;
use crate::launch::Launch;
use crate::nccl::Nccl;
use crate::roll_call::Member;

/// Collectives on one kind of device.
#[derive(Debug)]
pub(crate) enum Engine {
    /// libtorch's Gloo, for CPUs.
    Gloo(Gloo),
    /// NVIDIA's NCCL, for GPUs.
    Nccl(Nccl),
}

/// A collective under way.
pub(crate) enum Work<'a> {
    Gloo(distributed::Work),
    Nccl(&'a Nccl),
}

impl Work<'_> {
    /// Waits up to `timeout` for the end; returns false where it has not come.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, GroupError> {
        match self {
            Self::Gloo(work) => Ok(work.wait(timeout)?),
            Self::Nccl(nccl) => nccl.wait(timeout),
        }
    }
}

impl Engine {
    pub(crate) fn connect(
        keys: &Keys,
        launch: &Launch,
        members: &[Member],
        device: Device,
        patience: Duration,
        still_there: &dyn Fn() -> Result<(), GroupError>,
    ) -> Result<Self, GroupError> {
        let who = (launch.rank, launch.world_size);
        match device {
            Device::Cpu => {
                let interface = env::var("GLOO_SOCKET_IFNAME").ok().filter(|name| !name.is_empty());
                let address = if members.iter().all(|member| member.host == members[0].host) {
                    Some("127.0.0.1".to_owned())
                } else {
                    own_address(launch)
                };
                let listen = match (&interface, &address) {
                    (Some(interface), _) => Listen::Interface(interface),
                    (None, Some(address)) => Listen::Address(address),
                    (None, None) => Listen::Hostname,
                };
                Ok(Self::Gloo(Gloo::connect(keys.store(), &keys.name("gloo"), who, listen, patience)?))
            }
            Device::Cuda(index) => Ok(Self::Nccl(Nccl::connect(keys, who, index, patience, still_there)?)),
            other => Err(GroupError::Device { device: format!("{other:?}") }),
        }
    }

    pub(crate) fn all_reduce(&self, tensor: &mut Tensor) -> Result<Work<'_>, GroupError> {
        match self {
            Self::Gloo(gloo) => Ok(Work::Gloo(gloo.all_reduce(tensor)?)),
            Self::Nccl(nccl) => nccl.all_reduce(tensor).map(|()| Work::Nccl(nccl)),
        }
    }

    pub(crate) fn broadcast(&self, tensor: &mut Tensor, root: usize) -> Result<Work<'_>, GroupError> {
        match self {
            Self::Gloo(gloo) => Ok(Work::Gloo(gloo.broadcast(tensor, root)?)),
            Self::Nccl(nccl) => nccl.broadcast(tensor, root).map(|()| Work::Nccl(nccl)),
        }
    }

    /// Gives up what is under way.
    pub(crate) fn abort(self) {
        match self {
            // Its destructor waits for collectives that never end.
            Self::Gloo(_) => std::mem::forget(self),
            Self::Nccl(nccl) => nccl.abort(),
        }
    }
}

/// Returns the address of this machine on its way to the machine of rank 0; `None` where that is a name of its own that
/// leads to itself alone (`127.0.1.1` in Debian's `/etc/hosts`).
fn own_address(launch: &Launch) -> Option<String> {
    let master = (&*launch.host, launch.port).to_socket_addrs().ok()?.next()?;
    // Nothing is sent: a connected socket for datagrams knows its own end.
    let socket = UdpSocket::bind(if master.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).ok()?;
    socket.connect(master).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}
