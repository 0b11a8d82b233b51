"""What each artefact promises: a module offers ``promises(case)``, which yields `Promise` records."""
