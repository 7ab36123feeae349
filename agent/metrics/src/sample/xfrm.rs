use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// The kernel's word, what the original makes of it, and its explanation.
const COUNTERS: [(&str, &str, &str); 28] = [
    ("XfrmInError", "in_error", "All errors not matched by other"),
    ("XfrmInBufferError", "in_buffer_error", "No buffer is left"),
    ("XfrmInHdrError", "in_hdr_error", "Header error"),
    (
        "XfrmInNoStates",
        "in_no_states",
        "No state is found i.e. Either inbound SPI, address, or IPsec protocol at SA is wrong",
    ),
    ("XfrmInStateProtoError", "in_state_proto_error", "Transformation protocol specific error e.g. SA key is wrong"),
    ("XfrmInStateModeError", "in_state_mode_error", "Transformation mode specific error"),
    ("XfrmInStateSeqError", "in_state_seq_error", "Sequence error i.e. Sequence number is out of window"),
    ("XfrmInStateExpired", "in_state_expired", "State is expired"),
    ("XfrmInStateMismatch", "in_state_mismatch", "State has mismatch option e.g. UDP encapsulation type is mismatch"),
    ("XfrmInStateInvalid", "in_state_invalid", "State is invalid"),
    (
        "XfrmInTmplMismatch",
        "in_tmpl_mismatch",
        "No matching template for states e.g. Inbound SAs are correct but SP rule is wrong",
    ),
    ("XfrmInNoPols", "in_no_pols", "No policy is found for states e.g. Inbound SAs are correct but no SP is found"),
    ("XfrmInPolBlock", "in_pol_block", "Policy discards"),
    ("XfrmInPolError", "in_pol_error", "Policy error"),
    ("XfrmOutError", "out_error", "All errors which is not matched others"),
    ("XfrmOutBundleGenError", "out_bundle_gen_error", "Bundle generation error"),
    ("XfrmOutBundleCheckError", "out_bundle_check_error", "Bundle check error"),
    ("XfrmOutNoStates", "out_no_states", "No state is found"),
    ("XfrmOutStateProtoError", "out_state_proto_error", "Transformation protocol specific error"),
    ("XfrmOutStateModeError", "out_state_mode_error", "Transformation mode specific error"),
    ("XfrmOutStateSeqError", "out_state_seq_error", "Sequence error i.e. Sequence number overflow"),
    ("XfrmOutStateExpired", "out_state_expired", "State is expired"),
    ("XfrmOutPolBlock", "out_pol_block", "Policy discards"),
    ("XfrmOutPolDead", "out_pol_dead", "Policy is dead"),
    ("XfrmOutPolError", "out_pol_error", "Policy error"),
    ("XfrmFwdHdrError", "fwd_hdr_error", "Forward routing of a packet is not allowed"),
    ("XfrmOutStateInvalid", "out_state_invalid", "State is invalid, perhaps expired"),
    ("XfrmAcquireError", "acquire_error", "State hasn’t been fully acquired before use"),
];

/// `/proc/net/xfrm_stat`: packets that IPsec could not take.
pub struct Xfrm {
    file: KernelFile,
    families: [Family; COUNTERS.len()],
}

impl Xfrm {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("net/xfrm_stat")),
            families: COUNTERS.map(|(_, name, help)| Family::counter(&format!("node_xfrm_{name}_packets_total"), help)),
        }
    }
}

impl Collector for Xfrm {
    fn name(&self) -> &'static str {
        "xfrm"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        // As in the original, what a kernel does not count is 0.
        let mut values = [0; COUNTERS.len()];
        for line in text.lines() {
            let mut words = words(line);
            let pair = words.next().zip(words.next().and_then(number));
            let (name, value) = pair.ok_or_else(|| text.malformed("a name with a number", line))?;
            if let Some(at) = COUNTERS.iter().position(|(known, ..)| known.as_bytes() == name) {
                values[at] = value;
            }
        }
        for (family, value) in self.families.iter().zip(values) {
            scrape.out.family(family).put(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Xfrm;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    #[test]
    fn every_counter_is_told_and_those_that_the_kernel_lacks_are_0() {
        let text = "XfrmInError             \t1\nXfrmAcquireError        \t24532\nXfrmNew \t7\n";
        let (_folder, roots) = tree(&[("proc/net/xfrm_stat", text)]);
        let mut xfrm = Xfrm::new(&roots);
        let lines = samples(&mut xfrm, &roots);
        let want = ["node_xfrm_in_error_packets_total 1", "node_xfrm_acquire_error_packets_total 24532"];
        assert_has(&lines, &want);
        assert_has(&lines, &["node_xfrm_out_pol_dead_packets_total 0"]);
        assert_eq!(lines.len(), 28);
        std::fs::write(roots.procfs.join("net/xfrm_stat"), "XfrmInError\n").expect("written");
        assert!(collect(&mut xfrm, &roots).is_err());
    }
}
