"""The engines that can run a job; see base.py for what each of them must offer."""
