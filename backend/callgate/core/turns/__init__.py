"""Turn-taking in a call. `conversation` is told what happened, and answers with what to do."""
