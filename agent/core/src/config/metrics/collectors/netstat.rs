use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// With `MaxConn`, which the dashboard "Node Exporter Full" shows.
const TAKEN: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|\
     TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|\
     Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab|MaxConn)|\
     Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

/// Options of the collector `netstat`.
#[derive(Clone, Debug, PartialEq)]
pub struct Netstat {
    /// Which counters are taken, by protocol and field: `Tcp_InSegs`.
    pub fields: Filter,
}

impl Default for Netstat {
    fn default() -> Self {
        Self { fields: Filter::including(TAKEN) }
    }
}

impl Netstat {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.fields.read_include(section, "fields");
    }
}
