//! What the kernel says of an interface (netdevice(7)), asked without any privilege and without opening it; and how
//! packet sockets share one (packet(7)).
//!
//! All `ioctl` and `setsockopt` calls are here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Answers about interfaces by name.
#[derive(Debug)]
pub struct NetDevices {
    socket: OwnedFd,
}

/// A request of `SIOCETHTOOL` that gets or sets one number, and its answer (linux/ethtool.h, struct ethtool_value).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

impl NetDevices {
    /// Ready to be asked.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// The flags of the interface `name`: `IFF_UP` and so on.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), or the kernel does not say.
    #[allow(unsafe_code)]
    pub fn flags(&self, name: &str) -> io::Result<i32> {
        let mut request = request(name)?;
        // SAFETY: the descriptor is open as long as `self` is, and SIOCGIFFLAGS reads the name of the ifreq passed and
        // writes its flags.
        let outcome = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the flags are what the union holds.
        Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    /// What the driver of `name` answers to an `ethtool` command that gets one number (`ETHTOOL_GGRO` and its like;
    /// linux/ethtool.h says which).
    ///
    /// # Errors
    /// There is no such interface, or its driver does not know the command.
    #[allow(unsafe_code)]
    pub fn ethtool(&self, name: &str, command: GetsNumber) -> io::Result<u32> {
        let command = command as u32;
        let mut value = EthtoolValue { command, data: 0 };
        let mut request = request(name)?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the descriptor is open as long as `self` is; SIOCETHTOOL reads the name of the ifreq passed and, for
        // the commands of `GetsNumber`, reads and writes an ethtool_value behind its pointer, which outlives the call.
        let outcome = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(value.data)
    }
}

/// The `ethtool` commands that get one number (linux/ethtool.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetsNumber {
    /// Whether TCP segmentation is left to the interface.
    Tso = 0x1e,
    /// Whether segmentation is put off until the driver.
    Gso = 0x23,
    /// Flags, among them [`GetsNumber::LRO`].
    Flags = 0x25,
    /// Whether received segments are merged by the kernel.
    Gro = 0x2b,
}

impl GetsNumber {
    /// The bit of [`GetsNumber::Flags`] that says whether received segments are merged by the interface.
    pub const LRO: u32 = 1 << 15;
}

/// Options of packet sockets, and how a fan shares packets out (linux/if_packet.h).
const PACKET_FANOUT: libc::c_int = 18;
const PACKET_FANOUT_DATA: libc::c_int = 22;
const PACKET_FANOUT_CBPF: u32 = 6;
const PACKET_FANOUT_FLAG_UNIQUEID: u32 = 0x2000;

/// A group of packet sockets of one interface, of which each packet goes to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fan(u16);

impl Fan {
    /// Makes a group whose first member is the packet socket `socket`. A packet goes to the member whose place is what
    /// `program`, in classic BPF, makes of it, modulo the number of members; members have places in the order they join.
    ///
    /// # Errors
    /// The kernel refuses: it has no such groups, or the program is none.
    #[allow(unsafe_code)]
    pub fn open(socket: BorrowedFd<'_>, program: &mut [libc::sock_filter]) -> io::Result<Self> {
        set_number(
            socket,
            PACKET_FANOUT,
            (PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_UNIQUEID) << 16,
        )?;
        let told = libc::sock_fprog {
            len: program
                .len()
                .try_into()
                .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the descriptor is open as long as it is borrowed, and PACKET_FANOUT_DATA of a group of this type
        // reads a sock_fprog of the length passed and the `len` instructions behind its pointer, which outlive the call.
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_FANOUT_DATA,
                (&raw const told).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        // The kernel chose a number nobody has; it is in the lower half.
        Ok(Self(number(socket, PACKET_FANOUT)? as u16))
    }

    /// Makes `socket` the group's next member.
    ///
    /// # Errors
    /// The kernel refuses: the socket is not of the group's interface, or the group is gone.
    pub fn join(self, socket: BorrowedFd<'_>) -> io::Result<()> {
        set_number(socket, PACKET_FANOUT, u32::from(self.0) | PACKET_FANOUT_CBPF << 16)
    }
}

/// Sets an option of a packet socket that is a number.
#[allow(unsafe_code)]
fn set_number(socket: BorrowedFd<'_>, option: libc::c_int, value: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel reads no more than the length passed,
    // which is that of `value`.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// An option of a packet socket that is a number.
#[allow(unsafe_code)]
fn number(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u32> {
    let mut value = 0_u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes no more than `length` bytes, which are
    // `value`'s, and the length it wrote. Both outlive the call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value)
}

/// A request about the interface `name`.
#[allow(unsafe_code)]
fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data of integers, pointers and unions of them, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
