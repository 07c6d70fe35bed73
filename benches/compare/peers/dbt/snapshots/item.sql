{% snapshot item %}
{{ config(unique_key='id', strategy='check', check_cols='all', hard_deletes='invalidate') }}
select * from read_parquet('{{ env_var("COMPARE_SNAPSHOT") }}', hive_partitioning = false)
{% endsnapshot %}
