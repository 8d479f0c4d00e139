"""Pictures of tables and of their coverage."""
