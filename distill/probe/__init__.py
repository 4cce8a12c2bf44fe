"""The probe: during a run, the masks of the student are compared with its teacher's on photos that are not trained on."""
